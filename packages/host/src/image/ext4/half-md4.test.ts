import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { missing, runTool } from "../testing/tools.ts";
import { halfMd4 } from "./half-md4.ts";

const SEED = [0xb04b5120, 0x8684a006, 0xb023a743, 0x8dd61437];
/** The same seed as debugfs wants it: the words' bytes, as a UUID. */
const SEED_UUID = "20514bb0-06a0-8486-43a7-23b03714d68d";

// Of ASCII names, for which it makes no difference that ours takes characters as unsigned. Of others e2fsck gives its
// opinion when it checks big directories.
it("hashes as e2fsprogs does", { skip: await missing("debugfs", "-V") }, async () => {
  const names = Array.from({ length: 200 }, (_, i) =>
    "aB3Q._~xyz".repeat(26).slice(i % 11, (i % 11) + 1 + i),
  );
  const scratch = await mkdtemp(join(tmpdir(), "kiln-half-md4-"));
  try {
    const script = join(scratch, "commands");
    await writeFile(script, names.map((name) => `dx_hash -h half_md4 -s ${SEED_UUID} ${name}\n`).join(""));
    const output = await runTool("debugfs", "-f", script);
    const expected = [...output.matchAll(/is 0x([0-9a-f]+) /g)].map((match) =>
      Number.parseInt(match[1] ?? "", 16),
    );
    assert.equal(expected.length, names.length);
    assert.deepEqual(
      names.map((name) => halfMd4(name, SEED)),
      expected,
    );
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
});
