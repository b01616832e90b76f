import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { missing } from "../testing/tools.ts";
import { fuzzImage } from "./fuzz-image.ts";

it("makes an image or a clear error of any archive", { timeout: 120_000 }, async (t) => {
  const noCheck = await missing("e2fsck", "-V");
  if (noCheck !== false) t.diagnostic(`images are not checked: ${noCheck}`);
  const folder = await mkdtemp(join(tmpdir(), "kiln-fuzz-test-"));
  try {
    const report = await fuzzImage({ seed: 1, runs: 400, folder, checkEvery: noCheck === false ? 20 : 0 });
    t.diagnostic(`${report.images} images, ${report.refused} refused`);
    assert.ok(report.images > 50, "enough of the archives are good to test what follows the reader");
    assert.ok(report.refused > 50, "and enough are bad");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
