import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { link, mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { DiskMeter } from "./measure.ts";

test("bytes are those that du counts: no holes, a hard link once, folders as well", async () => {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), "kiln-measure-"));
  stack.defer(() => rm(root, { recursive: true }));
  await mkdir(join(root, "a/b"), { recursive: true });
  await writeFile(join(root, "a/file"), Buffer.alloc(100_000, 1), { flush: true });
  await link(join(root, "a/file"), join(root, "a/b/again"));
  const sparse = await open(join(root, "sparse"), "w");
  await sparse.truncate(1 << 30);
  await sparse.write(Buffer.alloc(4096, 1), 0, 4096, 1 << 20);
  await sparse.sync();
  await sparse.close();
  const { stdout } = await promisify(execFile)("du", ["--summarize", "--block-size=1", root]);
  const meter = await DiskMeter.open(root);
  assert.equal(await meter.measure(root), Number.parseInt(stdout, 10));
  assert.equal(await meter.measure(join(root, "gone")), 0);
});
