/** Rotation under clients and kills: nothing acknowledged is lost, and a sealed diff never changes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { BlockServer } from "@kiln/host/block/block-server.ts";
import { isSealed } from "@kiln/host/block/disk/sealed.ts";
import { DiskService } from "@kiln/host/block/disk-service.ts";
import { Random } from "../support/random.ts";
import { TestClient } from "./support/client.ts";
import { TestDisk } from "./support/test-disk.ts";

const BLOCK = 4096;
const BLOCKS = 512;
const timeout = 120_000;

async function hashOf(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of ["data", "map"]) hash.update(await readFile(join(folder, name)));
  return hash.digest("hex");
}

test("a disk is rotated while clients write, and its sealed diffs stay as they are", {
  timeout,
}, async () => {
  await using it = await TestDisk.open(BLOCKS * BLOCK);
  using client = await TestClient.connect(it.socketPath, "disk");
  const random = new Random(5);
  const model = Buffer.alloc(BLOCKS * BLOCK);
  it.base.copy(model);
  let stopped = false;
  let written = 0;
  const write = async () => {
    while (!stopped) {
      const count = 1 + random.below(64);
      const block = random.below(BLOCKS - count);
      const data = random.bytes(count * BLOCK);
      // One writer: the model is right at any time at which nothing is under way.
      assert.equal((await client.write(block * BLOCK, data)).error, 0);
      data.copy(model, block * BLOCK);
      written++;
    }
  };
  const writing = write();
  const sealed: { folder: string; hash: string }[] = [];
  for (let round = 0; round < 6; round++) {
    await delay(30);
    const folder = it.disk.options.diff;
    const old = round === 0 ? folder : join(it.directory, `diff${round - 1}`);
    await it.disk.rotate(join(it.directory, `diff${round}`));
    assert.equal(await isSealed(old), true);
    sealed.push({ folder: old, hash: await hashOf(old) });
  }
  stopped = true;
  await writing;
  assert.ok(written > 20, `only ${written} writes`);
  assert.ok((await client.read(0, BLOCKS * BLOCK)).data.equals(model));
  for (const { folder, hash } of sealed) assert.equal(await hashOf(folder), hash, `${folder} has changed`);
  const [now] = await it.server.disks();
  assert.equal(now?.options.diff, join(it.directory, "diff5"));
  assert.equal(now?.options.layers.length, 6);
});

test("a rotation that fails changes nothing", { timeout }, async () => {
  await using it = await TestDisk.open(BLOCKS * BLOCK);
  using client = await TestClient.connect(it.socketPath, "disk");
  await client.write(0, Buffer.alloc(BLOCK, 7));
  await assert.rejects(it.disk.rotate(join(it.directory, "diff")), /is just being added|writes to this diff/);
  await assert.rejects(it.disk.rotate(join(it.directory, "base", "x")), /ENOTDIR|not a directory/i);
  await assert.rejects(it.disk.rotate(join(it.directory, "new"), [join(it.directory, "none")]), /none/);
  assert.equal(await isSealed(join(it.directory, "diff")), false);
  assert.equal((await client.write(BLOCK, Buffer.alloc(BLOCK, 8))).error, 0);
  assert.equal((await client.read(0, BLOCK)).data[0], 7);
  await it.disk.rotate(join(it.directory, "new"));
  assert.equal((await client.read(BLOCK, BLOCK)).data[0], 8);
});

test("a rotation cut off by kill -9 has happened or not, as the seal tells", { timeout }, async () => {
  await using it = await TestDisk.open(BLOCKS * BLOCK);
  const random = new Random(9);
  const model = Buffer.alloc(BLOCKS * BLOCK);
  it.base.copy(model);
  let options = { ...it.disk.options, layers: it.disk.options.layers };
  const seen = { old: 0, new: 0 };
  let longest = 20;
  for (let round = 0; round < 16; round++) {
    {
      using client = await TestClient.connect(it.socketPath, "disk");
      const block = random.below(BLOCKS);
      const data = random.bytes(BLOCK);
      assert.equal((await client.write(block * BLOCK, data)).error, 0);
      data.copy(model, block * BLOCK);
    }
    const next = {
      ...options,
      layers: [...options.layers, options.diff],
      diff: join(it.directory, `d${round}`),
    };
    const started = performance.now();
    const rotating = it.disk.rotate(next.diff).then(
      () => true,
      () => false,
    );
    // Some are let through, to know how long it takes on this machine.
    if (round % 4 === 0) {
      await rotating;
      longest = performance.now() - started;
    } else await delay((longest * round) / 16);
    process.kill(it.server.pid, "SIGKILL");
    const answered = await rotating;
    await it.server.exited;
    const happened = await isSealed(options.diff);
    if (answered) assert.equal(happened, true);
    seen[happened ? "new" : "old"]++;
    if (happened) options = next;
    else await rm(next.diff, { recursive: true, force: true });
    it.server = await BlockServer.start({ directory: it.directory });
    it.disk = await it.server.addDisk(options);
    using reader = await TestClient.connect(it.socketPath, "disk");
    assert.ok((await reader.read(0, BLOCKS * BLOCK)).data.equals(model), `round ${round}`);
  }
  assert.ok(seen.new > 0 && seen.old > 0, `old ${seen.old}, new ${seen.new}: the kills met nothing`);
});

test("a service's rotation and sealing come to their end though servers die", { timeout }, async () => {
  await using it = await TestDisk.open(BLOCKS * BLOCK);
  await it.disk.remove();
  await it.server.stop();
  await using service = new DiskService(it.directory);
  let { diff } = it.disk.options;
  const disk = await service.add(it.disk.options);
  for (let round = 0; round < 4; round++) {
    {
      using client = await TestClient.connect(it.socketPath, "disk");
      await client.write(round * BLOCK, Buffer.alloc(BLOCK, 100 + round));
    }
    const pid = await service.pid();
    const next = join(it.directory, `d${round}`);
    const rotating = disk.rotate(next);
    await delay(round * 2);
    process.kill(pid, "SIGKILL");
    await rotating;
    assert.equal(await isSealed(diff), true);
    diff = next;
    await disk.stats();
    using client = await TestClient.connect(it.socketPath, "disk");
    const { data } = await client.read(0, 4 * BLOCK);
    for (let block = 0; block <= round; block++) assert.equal(data[block * BLOCK], 100 + block);
  }
  const pid = await service.pid();
  const sealing = disk.seal();
  process.kill(pid, "SIGKILL");
  await sealing;
  assert.equal(await isSealed(diff), true);
});

test("a disk over its limit answers ENOSPC, and its neighbour is none the worse", { timeout }, async () => {
  await using it = await TestDisk.open(BLOCKS * BLOCK);
  const small = await it.server.addDisk({
    ...it.disk.options,
    id: "small",
    exportName: undefined,
    diff: join(it.directory, "small"),
    maxDiffBytes: 8 * BLOCK,
  });
  using client = await TestClient.connect(it.socketPath, small.nbd.exportName);
  assert.equal((await client.write(0, Buffer.alloc(8 * BLOCK, 1))).error, 0);
  assert.equal((await client.write(64 * BLOCK, Buffer.alloc(BLOCK, 1))).error, 28);
  assert.equal((await client.write(BLOCK, Buffer.alloc(BLOCK, 2))).error, 0);
  assert.equal((await small.stats()).dataBytes, 8 * BLOCK);
  using other = await TestClient.connect(it.socketPath, "disk");
  assert.equal((await other.write(0, Buffer.alloc(64 * BLOCK, 3))).error, 0);
  await assert.rejects(TestClient.connect(it.socketPath, "small"), /no such export/);
});
