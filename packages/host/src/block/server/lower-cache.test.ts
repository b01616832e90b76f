import assert from "node:assert/strict";
import { copyFile, mkdtemp, readdir, readlink, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { readLower } from "../disk/read-lower.ts";
import { LowerCache } from "./lower-cache.ts";

const BLOCK = 4096;

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kiln-lower-"));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

/** How often this process has a file open. */
async function opened(path: string): Promise<number> {
  const links = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  return links.filter((link) => link.startsWith(path)).length;
}

test("what nobody uses stays open for the next, until it is another file or time is up", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const folder = await scratch(t);
  const base = join(folder, "base");
  await writeFile(base, Buffer.alloc(BLOCK, 1));
  const source = { base, layers: [] };
  const cache = new LowerCache();

  const first = await cache.take(source);
  first.release();
  first.release();
  const second = await cache.take(source);
  assert.equal(second.lower, first.lower);
  const beside = await cache.take(source);
  assert.equal(await opened(base), 1);

  // Rebuilt under the same name: whoever has the old one keeps it, and nobody else gets it.
  await copyFile(base, join(folder, "new"));
  await writeFile(join(folder, "new"), Buffer.alloc(BLOCK, 2));
  await rename(join(folder, "new"), base);
  const third = await cache.take(source);
  assert.equal(readLower(third.lower, 0, 1)[0], 2);
  assert.equal(readLower(second.lower, 0, 1)[0], 1);
  second.release();
  beside.release();
  assert.equal(await opened(base), 1, "the old one is closed at once");

  third.release();
  t.mock.timers.tick(590_000);
  (await cache.take(source)).release();
  t.mock.timers.tick(590_000);
  assert.equal(await opened(base), 1);
  t.mock.timers.tick(10_000);
  assert.equal(await opened(base), 0);
  await assert.rejects(cache.take({ base: join(folder, "none"), layers: [] }), /none/);
});

test("one that rests is closed when its file is another", async (t) => {
  const folder = await scratch(t);
  const base = join(folder, "base");
  await writeFile(base, Buffer.alloc(BLOCK, 1));
  const cache = new LowerCache();
  (await cache.take({ base, layers: [] })).release();
  await rename(base, join(folder, "old"));
  await writeFile(base, Buffer.alloc(BLOCK, 2));
  const { lower, release } = await cache.take({ base, layers: [] });
  assert.equal(readLower(lower, 0, 1)[0], 2);
  assert.equal(await opened(join(folder, "old")), 0);
  release();
});

test("one that rests is closed soon after its file was removed", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const folder = await scratch(t);
  const base = join(folder, "base");
  await writeFile(base, Buffer.alloc(BLOCK, 1));
  const cache = new LowerCache();
  (await cache.take({ base, layers: [] })).release();
  t.mock.timers.tick(5_000);
  assert.equal(await opened(base), 1);
  await rm(base);
  t.mock.timers.tick(5_000);
  assert.equal(await opened(base), 0);
});

test("of many that rest those stay open that were used last", async (t) => {
  const folder = await scratch(t);
  const cache = new LowerCache();
  const use = async (name: string) => (await cache.take({ base: join(folder, name), layers: [] })).release();
  for (const name of "abcde") await writeFile(join(folder, name), Buffer.alloc(BLOCK));
  for (const name of "abcdae") await use(name);
  await setImmediate();
  const open = await Promise.all([..."abcde"].map((name) => opened(join(folder, name))));
  assert.deepEqual(open, [1, 0, 1, 1, 1]);
});
