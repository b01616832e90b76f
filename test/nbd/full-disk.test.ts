/** What happens when the host's file system is full: the guest is told, and nothing it has is damaged. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Random } from "../support/random.ts";
import { TestClient } from "./support/client.ts";
import { TestDisk } from "./support/test-disk.ts";

const MIB = 1024 * 1024;
const ENOSPC = 28;

test("a full host is an error for the write it meets, and for nothing else", {
  timeout: 60_000,
}, async (t) => {
  const small = mkdtempSync(join(tmpdir(), "kiln-small-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "kiln-test", small], { stdio: "pipe" });
  } catch (error) {
    rmSync(small, { recursive: true });
    t.skip(`no file system can be mounted here: ${error instanceof Error ? error.message : String(error)}`);
    return;
  }
  try {
    await using it = await TestDisk.open(16 * MIB);
    const diff = join(small, "diff");
    mkdirSync(diff);
    const options = {
      id: "small",
      exportName: "small",
      base: join(it.directory, "base"),
      diff,
      sizeBytes: 16 * MIB,
    };
    const disk = await it.server.addDisk(options);
    using client = await TestClient.connect(disk.nbd.socketPath, "small");
    const data = new Random(9).bytes(2 * MIB);
    assert.equal((await client.write(0, data)).error, 0);
    assert.equal((await client.write(6 * MIB, Buffer.alloc(8 * MIB, 1))).error, ENOSPC);
    const outcomes = new Set<number>();
    for (let block = 0; block < 64; block++) {
      const { error } = await client.write(3 * MIB + block * 4096, Buffer.alloc(4096, 2));
      outcomes.add(error);
      const { data: found } = await client.read(3 * MIB + block * 4096, 4096);
      assert.ok(
        found.every((byte) => byte === (error === 0 ? 2 : 0)),
        `block ${block} after error ${error}`,
      );
    }
    assert.ok(outcomes.has(ENOSPC));
    assert.ok((await client.read(0, data.length)).data.equals(data));
    assert.equal(
      (await client.write(0, Buffer.alloc(4096, 3))).error,
      0,
      "blocks that have room can be written",
    );
    await disk.remove();
    const again = await it.server.addDisk(options);
    using reader = await TestClient.connect(again.nbd.socketPath, "small");
    assert.ok((await reader.read(4096, data.length - 4096)).data.equals(data.subarray(4096)));
    await again.remove();
  } finally {
    execFileSync("umount", ["--lazy", small]);
    rmSync(small, { recursive: true });
  }
});
