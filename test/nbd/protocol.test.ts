/** What a client may get wrong, and how the server takes it. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Random } from "../support/random.ts";
import * as nbd from "./support/client.ts";
import { TestDisk } from "./support/test-disk.ts";

const SIZE = 64 * 1024 * 1024;
const EINVAL = 22;
const ENOSPC = 28;
const timeout = 60_000;

for (const structured of [true, false]) {
  test(`bad requests are refused and the stream stays in step (structured: ${structured})`, {
    timeout,
  }, async () => {
    await using it = await TestDisk.open(SIZE);
    using client = await nbd.TestClient.connect(it.socketPath, "disk", { structured });
    assert.equal(client.size, SIZE);
    const cases: [command: number, offset: number, length: number, data: number, error: number][] = [
      [nbd.READ, SIZE - 10, 11, 0, EINVAL],
      [nbd.READ, 0, 0, 0, EINVAL],
      [nbd.READ, 0, 33 * 1024 * 1024, 0, EINVAL],
      [nbd.READ, 2 ** 60, 1, 0, EINVAL],
      [nbd.WRITE, SIZE, 512, 512, ENOSPC],
      [nbd.WRITE, 2 ** 63, 512, 512, ENOSPC],
      [nbd.WRITE, 0, 0, 0, EINVAL],
      [nbd.WRITE, 0, 33 * 1024 * 1024, 33 * 1024 * 1024, EINVAL],
      [nbd.TRIM, SIZE - 1, 2, 0, ENOSPC],
      [nbd.WRITE_ZEROES, SIZE - 1, 0xffffffff, 0, ENOSPC],
      [nbd.FLUSH, 1, 0, 0, EINVAL],
      [7, 0, 4096, 0, EINVAL],
      [5, 0, 0, 0, EINVAL],
      [999, 0, 0, 0, EINVAL],
    ];
    for (const [command, offset, length, dataLength, error] of cases) {
      const data = dataLength > 0 ? Buffer.alloc(dataLength, 1) : undefined;
      const reply = await client.request(command, offset, length, 0, data);
      assert.equal(reply.error, error, `command ${command} at ${offset}, ${length} long`);
    }
    const { data } = await client.read(0, it.base.length);
    assert.ok(data.equals(it.base), "a refused request has changed the disk");
    assert.equal((await it.disk.stats()).errors, cases.length);
  });

  test(`long reads and writes of any alignment (structured: ${structured})`, { timeout }, async () => {
    await using it = await TestDisk.open(SIZE);
    using client = await nbd.TestClient.connect(it.socketPath, "disk", { structured });
    const model = Buffer.alloc(SIZE);
    it.base.copy(model);
    const random = new Random(5);
    for (let round = 0; round < 30; round++) {
      const length = 1 + random.below(random.pick([5_000, 300_000, 3_000_000]));
      const offset = random.below(SIZE - length);
      const bytes = Buffer.alloc(length, random.bytes(997));
      const reply = await client.write(offset, bytes, random.chance(4) ? nbd.FUA : 0);
      assert.equal(reply.error, 0);
      bytes.copy(model, offset);
      const from = Math.max(0, offset - random.below(10_000));
      const { data } = await client.read(from, Math.min(length + 20_000, SIZE - from));
      assert.ok(data.equals(model.subarray(from, from + data.length)), `round ${round}`);
    }
    const { data } = await client.read(0, 32 * 1024 * 1024);
    assert.ok(data.equals(model.subarray(0, data.length)));
  });
}

test("a flag that means nothing is refused, on every command", { timeout }, async () => {
  await using it = await TestDisk.open(SIZE);
  using client = await nbd.TestClient.connect(it.socketPath, "disk");
  for (const command of [nbd.READ, nbd.WRITE, nbd.FLUSH, nbd.TRIM, nbd.WRITE_ZEROES]) {
    const length = command === nbd.FLUSH ? 0 : 4096;
    const data = command === nbd.WRITE ? Buffer.alloc(length) : undefined;
    assert.equal(
      (await client.request(command, 0, length, 1 << 9, data)).error,
      EINVAL,
      `command ${command}`,
    );
  }
  assert.ok((await client.read(0, 4096)).data.equals(it.base.subarray(0, 4096)));
});

test("one client's long reads do not hold up another's short ones", { timeout }, async () => {
  await using it = await TestDisk.open(SIZE);
  using greedy = await nbd.TestClient.connect(it.socketPath, "disk");
  using modest = await nbd.TestClient.connect(it.socketPath, "disk");
  const long = Array.from({ length: 8 }, () => greedy.read(0, 32 * 1024 * 1024));
  let first = 0;
  void long[0]?.then(() => first++);
  void long[7]?.then(() => first++);
  assert.equal((await modest.read(0, 4096)).error, 0);
  assert.equal(first, 0, "the short read was answered after the long ones");
  for (const { error } of await Promise.all(long)) assert.equal(error, 0);
});

test("an unknown export is refused by name", { timeout }, async () => {
  await using it = await TestDisk.open(SIZE);
  await assert.rejects(nbd.TestClient.connect(it.socketPath, "nope"), /0x80000006 no such export/);
});

test("a client that doesn't read gets no more than the socket and a few buffers hold", {
  timeout,
}, async () => {
  await using it = await TestDisk.open(SIZE);
  using slow = await nbd.TestClient.connect(it.socketPath, "disk");
  slow.socket.pause();
  const before = await residentBytes(it.server.pid);
  const reads = Array.from({ length: 200 }, () => slow.read(0, 16 * 1024 * 1024));
  using other = await nbd.TestClient.connect(it.socketPath, "disk");
  for (let round = 0; round < 200; round++) assert.equal((await other.read(round * 4096, 4096)).error, 0);
  const { bytesRead } = await it.disk.stats();
  assert.ok(bytesRead < 8 * 1024 * 1024, `${bytesRead} bytes were read for a client that takes none`);
  const growth = (await residentBytes(it.server.pid)) - before;
  assert.ok(growth < 64 * 1024 * 1024, `memory grew by ${growth} bytes`);
  slow.socket.resume();
  assert.ok((await reads[0])?.data.subarray(0, it.base.length).equals(it.base));
  const rest = Promise.allSettled(reads);
  await it.disk.remove();
  assert.ok(
    (await rest).some(({ status }) => status === "rejected"),
    "removing the disk closes its connections",
  );
});

async function residentBytes(pid: number): Promise<number> {
  return Number((await readFile(`/proc/${pid}/statm`, "latin1")).split(" ")[1]) * 4096;
}
