import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KilnHome } from "../home.ts";
import { readUses, stopUses, Uses } from "./in-use.ts";

test("what a process uses is known until it lets go, and to nobody once the process is gone", async () => {
  await using stack = new AsyncDisposableStack();
  const home = new KilnHome(await mkdtemp(join(tmpdir(), "kiln-uses-")));
  stack.defer(() => rm(home.root, { recursive: true }));
  const uses = new Uses(home);
  await uses.add([home.rootfs("a"), home.snapshot("b")]);
  await mkdir(home.uses, { recursive: true });
  await writeFile(join(home.uses, "1-1.dead"), "rootfs/of-the-dead\n");
  assert.deepEqual(await readUses(home), new Set(["rootfs/a", "snapshots/b"]));

  const stopped = await stopUses(home);
  let found = false;
  const adding = uses.keep(
    async () => {
      found = true;
      return "c";
    },
    (key) => [home.rootfs(key)],
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(found, false, "nobody looks for anything while somebody removes");
  await stopped[Symbol.asyncDispose]();
  assert.equal(await adding, "c");
  assert.ok((await readUses(home)).has("rootfs/c"));
  await uses[Symbol.asyncDispose]();
  assert.deepEqual(await readUses(home), new Set());
});
