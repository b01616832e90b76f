/** A real S3 server behind a bad network, and a disk that is read while its image has not arrived. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { BlockServer } from "../../packages/host/src/block/block-server.ts";
import { FetchClient } from "../../packages/host/src/lazy/fetch-client.ts";
import { openNodeStore, Pull } from "../../packages/host/src/store/pull.ts";
import { pushParts } from "../../packages/host/src/store/push.ts";
import { TestClient } from "../nbd/support/client.ts";
import { Random } from "../support/random.ts";
import { type Faults, FaultyProxy } from "./support/faulty-proxy.ts";
import { fetcherPid, openNode, type TestNode } from "./support/node.ts";
import { openS3Kind } from "./support/stores.ts";
import { makeTemplate } from "./support/template.ts";

const MIB = 1024 * 1024;
const s3 = await openS3Kind();
const skip = typeof s3 === "string" ? s3 : false;
after(async () => {
  if (typeof s3 !== "string") await s3[Symbol.asyncDispose]();
});

interface Rig extends AsyncDisposable {
  proxy: FaultyProxy;
  node: TestNode;
  client: TestClient;
  content: Buffer;
}

/** A node whose disk has just been begun, and a client of that disk. */
async function openRig(patienceS: number): Promise<Rig> {
  if (typeof s3 === "string" || s3.port === undefined) throw new Error("no S3 server");
  await using stack = new AsyncDisposableStack();
  const location = s3.fresh();
  const proxy = stack.use(await FaultyProxy.start(s3.port));
  const builder = stack.use(await openNode(location));
  const made = await makeTemplate(builder.home, "faulty", 11, 4096);
  {
    await using store = await openNodeStore(builder.config);
    await pushParts({ home: builder.home, store, spec: made.spec }, made.parts);
  }
  const through = { ...location, endpoint: `http://127.0.0.1:${proxy.port}` };
  const node = stack.use(await openNode(through, { patience_s: patienceS, cache_mib: 0 }));
  await using pull = await Pull.open(node.home, node.config, { name: "faulty", digest: undefined });
  await pull.installFolders([made.parts.disk.base]);
  const server = stack.use(await BlockServer.start({ directory: join(node.home.root, "b") }));
  const base = join(node.home.root, made.parts.disk.base, "rootfs.ext4");
  const disk = await server.addDisk({ id: "disk", base, diff: join(node.home.root, "diff") });
  const client = stack.use(await TestClient.connect(disk.nbd.socketPath, disk.nbd.exportName));
  const content = [...made.files.values()][0] ?? Buffer.alloc(0);
  const owned = stack.move();
  return { proxy, node, client, content, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function assertReads({ client, content }: Rig, random: Random, times: number): Promise<void> {
  const reads = Array.from({ length: times }, async () => {
    const length = 512 * (1 + random.below(200));
    const offset = 512 * random.below((content.length - length) / 512);
    const { error, data } = await client.read(offset, length);
    assert.equal(error, 0);
    assert.ok(data.equals(content.subarray(offset, offset + length)), `${offset} + ${length}`);
  });
  await Promise.all(reads);
}

const faults: [string, Partial<Faults>][] = [
  ["is slow", { latencyMs: 50, bytesPerSecond: 4 * MIB }],
  ["cuts answers short", { cutAfter: 300_000 }],
  ["answers 503", { status: 503 }],
  ["is gone", { down: true }],
];
for (const [what, fault] of faults) {
  test(`a disk whose store ${what} is read right, or waits until it is well again`, { skip }, async () => {
    await using rig = await openRig(30);
    const random = new Random(12);
    await assertReads(rig, random, 5);
    rig.proxy.set(fault);
    const reading = assertReads(rig, random, 10);
    await delay(1500);
    rig.proxy.set({});
    await reading;
    await assertReads(rig, random, 40);
  });
}

test("a read fails when the store stays away for longer than is configured, never with zeros, and works again later", {
  skip,
}, async () => {
  await using rig = await openRig(2);
  const { client, content, proxy, node } = rig;
  proxy.set({ down: true });
  let block = 0;
  while (content.subarray(block * 4096, block * 4096 + 4096).every((byte) => byte === 0)) block++;
  const started = performance.now();
  assert.equal((await client.read(block * 4096, 4096)).error, 5);
  assert.ok(performance.now() - started > 1000, "it was waited for");
  using fetcher = new FetchClient(node.home.root);
  assert.match((await fetcher.status()).failure ?? "", /s3:\/\//);
  proxy.set({});
  assert.ok(
    (await client.read(block * 4096, 4096)).data.equals(content.subarray(block * 4096, block * 4096 + 4096)),
  );
  assert.equal((await fetcher.status()).failure, null);
});

test("what is here is read without the store; many who want the same cause one request", {
  skip,
}, async () => {
  await using rig = await openRig(5);
  const { client, content, proxy, node } = rig;
  using fetcher = new FetchClient(node.home.root);
  const { requests } = await fetcher.status();
  await Promise.all(Array.from({ length: 50 }, () => client.read(0, 4096)));
  assert.ok((await fetcher.status()).requests <= requests + 1);
  proxy.set({ down: true });
  assert.ok((await client.read(0, 4096)).data.equals(content.subarray(0, 4096)));
  // A whole block that is written needs nothing of what was there.
  assert.equal((await client.write(8192, Buffer.alloc(4096, 7))).error, 0);
});

test("a fetcher that is killed is replaced, and what it has fetched is not fetched again", {
  skip,
}, async () => {
  await using rig = await openRig(20);
  const random = new Random(13);
  await assertReads(rig, random, 20);
  process.kill(await fetcherPid(rig.node.home.root), "SIGKILL");
  await assertReads(rig, random, 60);
});
