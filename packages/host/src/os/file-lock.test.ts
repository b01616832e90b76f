import assert from "node:assert/strict";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { lockFile, tryLockFile } from "./file-lock.ts";

test("one holds a lock, others wait, give up, or hear why it cannot be had", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "kiln-lock-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "locks", "one");
  {
    await using _held = await lockFile(path);
    assert.equal(await tryLockFile(path), undefined);
    await assert.rejects(lockFile(path, AbortSignal.timeout(100)), { code: "CANCELLED" });
  }
  {
    await using first = await lockFile(path, undefined, { shared: true });
    await using second = await lockFile(path, undefined, { shared: true });
    assert.ok(first !== second);
    assert.equal(await tryLockFile(path), undefined);
  }
  const again = await tryLockFile(path);
  assert.ok(again);
  await again[Symbol.asyncDispose]();

  const nowhere = join(folder, "nowhere");
  await symlink(join(folder, "absent", "file"), nowhere);
  for (const lock of [lockFile, tryLockFile])
    await assert.rejects(lock(nowhere), {
      code: "INTERNAL",
      message: /cannot lock .*nowhere: flock ended with/,
    });
});
