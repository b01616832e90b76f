import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { KilnError } from "../../packages/host/src/errors.ts";
import { FetchClient } from "../../packages/host/src/lazy/fetch-client.ts";
import { isLazy } from "../../packages/host/src/lazy/lazy-file.ts";
import { inParallel } from "../../packages/host/src/os/in-parallel.ts";
import { keys, type ObjectStore } from "../../packages/host/src/store/client/object-store.ts";
import { collect } from "../../packages/host/src/store/collect.ts";
import { contentLength } from "../../packages/host/src/store/format/image-manifest.ts";
import { readImageManifest } from "../../packages/host/src/store/known-chunks.ts";
import { openNodeStore, Pull } from "../../packages/host/src/store/pull.ts";
import { pushParts } from "../../packages/host/src/store/push.ts";
import { listTags, parseReference } from "../../packages/host/src/store/references.ts";
import { claimSandbox } from "../../packages/host/src/store/sandboxes.ts";
import { generateKey, readSigner } from "../../packages/host/src/store/trust.ts";
import { verifyStore } from "../../packages/host/src/store/verify.ts";
import { Random } from "../support/random.ts";
import { openNode, type TestNode } from "./support/node.ts";
import { openFolderKind, openS3Kind, type StoreKind } from "./support/stores.ts";
import { type MadeTemplate, makeTemplate } from "./support/template.ts";

/** Chunks that are altered in the store; KILN_ALTERATIONS=1000 takes a minute. */
const ALTERED = Number(process.env.KILN_ALTERATIONS ?? 100);
const kinds: StoreKind[] = [await openFolderKind()];
const s3 = await openS3Kind();
if (typeof s3 === "string") test("S3", { skip: s3 }, () => undefined);
else kinds.push(s3);
after(async () => {
  for (const kind of kinds) await kind[Symbol.asyncDispose]();
});

async function push(node: TestNode, { spec, parts }: MadeTemplate, key?: string) {
  await using store = await openNodeStore(node.config);
  const signer = key === undefined ? undefined : await readSigner(key);
  return pushParts({ home: node.home, store, spec, signer }, parts);
}

/** Fetches all of a template to a node. */
async function pull(node: TestNode, reference: string): Promise<Pull> {
  await using pulled = await Pull.open(node.home, node.config, parseReference(reference));
  const { disk, kernel, snapshots } = pulled.manifest;
  await pulled.installFolders([disk.base, kernel, ...snapshots]);
  await pulled.complete();
  return pulled;
}

async function assertArrived(node: TestNode, { files }: MadeTemplate): Promise<void> {
  for (const [path, content] of files) {
    assert.equal(isLazy(join(node.home.root, path)), false, path);
    assert.ok((await readFile(join(node.home.root, path))).equals(content), path);
  }
}

async function keysOf(store: ObjectStore, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found.sort();
}

const code = (expected: string) => (error: unknown) => error instanceof KilnError && error.code === expected;

for (const kind of kinds) {
  describe(`store in ${kind.name}`, () => {
    test("what one node pushes another one pulls, byte for byte; pushing it again sends nothing", async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      await using b = await openNode(location);
      const made = await makeTemplate(a.home, "one", 1);
      const first = await push(a, made);
      assert.ok(first.sent > 0);
      const again = await push(a, made);
      assert.ok(again.sent < first.sent / 50, `${again.sent} of ${first.sent} were sent again`);
      await pull(b, "one");
      await assertArrived(b, made);
      await using store = await openNodeStore(a.config);
      assert.deepEqual((await verifyStore(store)).damage, []);
      assert.deepEqual(await keysOf(store, "leases/"), []);
    });

    test("a name moves to the version pushed last; the former one can still be named", async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      await using b = await openNode(location);
      const old = await makeTemplate(a.home, "moving", 2);
      const { digest } = await push(a, old);
      const young = await makeTemplate(a.home, "moving", 3);
      await push(a, young);
      await pull(b, "moving");
      await assertArrived(b, young);
      await pull(b, `moving@sha256:${digest}`);
      await assertArrived(b, old);
      await assert.rejects(pull(b, "absent"), code("TEMPLATE_NOT_FOUND"));
      await assert.rejects(pull(b, `other@sha256:${digest}`), code("STORE_DAMAGED"));
    });

    test("a push that is cut off is seen by nobody and goes on where it was", async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      const made = await makeTemplate(a.home, "cut", 4, 8192);
      const cancel = new AbortController();
      await using store = await openNodeStore(a.config);
      const onProgress = ({ sent }: { sent: number }) => {
        if (sent > 9 * 1024 * 1024) cancel.abort();
      };
      await assert.rejects(
        pushParts({ home: a.home, store, spec: made.spec, onProgress, signal: cancel.signal }, made.parts),
      );
      assert.deepEqual(await listTags(store), []);
      assert.deepEqual(await keysOf(store, "templates/"), []);
      const rest = await push(a, made);
      assert.ok(rest.resumed > 8 * 1024 * 1024, `${rest.resumed} bytes were there`);
      assert.deepEqual((await verifyStore(store)).damage, []);
    });

    test("unsigned, signed by another, altered: refused by name where a signature is required", async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      const key = join(a.home.root, "key.pem");
      const publicKey = await generateKey(key);
      const other = join(a.home.root, "other.pem");
      await generateKey(other);
      await using b = await openNode(location, { trusted_keys: [publicKey] });
      const made = await makeTemplate(a.home, "signed", 5);
      await push(a, made);
      await assert.rejects(pull(b, "signed"), code("STORE_UNTRUSTED"));
      await push(a, made, other);
      await assert.rejects(pull(b, "signed"), code("STORE_UNTRUSTED"));
      const { digest } = await push(a, made, key);
      await pull(b, "signed");
      await assertArrived(b, made);
      await using store = await openNodeStore(a.config);
      const altered = Buffer.from((await store.get(keys.template(digest), { maxBytes: 1e7 })) ?? "");
      altered.write("X", altered.indexOf("pushedAt") + 12);
      await store.put(keys.template(digest), altered);
      await assert.rejects(
        pull(b, "signed"),
        (error) => error instanceof KilnError && error.message.includes(digest),
      );
    });

    test(`whatever is altered is refused by name, and never arrives: ${ALTERED} chunks`, async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      // A chunk has 64 KiB on average; of four blocks three are not holes.
      const made = await makeTemplate(a.home, "altered", 6, ALTERED * 32);
      await push(a, made);
      await using store = await openNodeStore(a.config);
      await using b = await openNode(location, { cache_mib: 0 });
      const rootfs = join(b.home.root, made.parts.disk.base, "rootfs.ext4");
      await using pulled = await Pull.open(b.home, b.config, parseReference("altered"));
      await pulled.installFolders([made.parts.disk.base]);
      const file = pulled.manifest.folders[made.parts.disk.base]?.["rootfs.ext4"];
      assert.ok(file && "image" in file);
      const { manifest } = await readImageManifest(store, file.image);
      const random = new Random(7);
      const bad = new Set<number>();
      while (bad.size < Math.min(ALTERED, manifest.chunks.length - 10))
        bad.add(random.below(manifest.chunks.length));
      assert.equal(bad.size, ALTERED, `there are only ${manifest.chunks.length} chunks`);
      for (const [number, { digest }] of manifest.packs.entries()) {
        const bytes = Buffer.from((await store.get(keys.pack(digest), { maxBytes: 1e8 })) ?? "");
        for (const [index, chunk] of manifest.chunks.entries()) {
          if (chunk.pack !== number || !bad.has(index)) continue;
          const at = chunk.offset + random.below(chunk.stored);
          bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        }
        await store.put(keys.pack(digest), bytes);
      }
      using fetcher = new FetchClient(b.home.root);
      let refused = 0;
      const ask = async ([part, { digest }]: [number, { digest: string }]) => {
        const answer = await fetcher.fetch(rootfs, part, part + 1).catch((error: unknown) => error);
        if (!bad.has(part))
          return assert.equal(answer, undefined, `a good chunk was refused: ${String(answer)}`);
        assert.ok(answer instanceof KilnError && answer.code === "STORE_DAMAGED", String(answer));
        assert.ok(answer.message.includes(digest), answer.message);
        refused++;
      };
      await inParallel([...manifest.chunks.entries()], ask, { atOnce: 8 });
      assert.equal(refused, ALTERED);
      const arrived = await readFile(rootfs);
      const whole = made.files.get(`${made.parts.disk.base}/rootfs.ext4`) ?? Buffer.alloc(0);
      for (const [part, chunk] of manifest.chunks.entries()) {
        const begin = chunk.block * 4096;
        const end = begin + contentLength(manifest, chunk);
        const here = arrived.subarray(begin, end);
        if (bad.has(part))
          assert.ok(
            here.every((byte) => byte === 0),
            `altered bytes of ${chunk.digest} arrived`,
          );
        else assert.ok(here.equals(whole.subarray(begin, end)), `${chunk.digest} is not there`);
      }
    });

    test("verifying names each pack that was altered or cut, and nothing else", async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      await push(a, await makeTemplate(a.home, "altered", 6, 4096));
      await using store = await openNodeStore(a.config);
      const random = new Random(7);
      const packs = await keysOf(store, "packs/");
      for (let round = 0; round < 5; round++) {
        const key = random.pick(packs);
        const good = (await store.get(key, { maxBytes: 1e8 })) ?? Buffer.alloc(0);
        const bad = Buffer.from(good);
        const at = random.below(bad.length);
        bad[at] = (bad[at] ?? 0) ^ (1 << random.below(8));
        await store.put(key, round % 4 === 0 ? bad.subarray(0, at) : bad);
        const { damage } = await verifyStore(store);
        assert.equal(damage.length, 1);
        assert.ok(damage[0]?.message.includes(key.slice(-64)));
        await store.put(key, good);
      }
      assert.deepEqual((await verifyStore(store)).damage, []);
    });

    test("of all who claim a sandbox one gets it, and still has it later", async () => {
      await using a = await openNode(kind.fresh());
      await using store = await openNodeStore(a.config);
      const digest = "ab".repeat(32);
      const nodes = Array.from({ length: 12 }, (_, index) => index.toString(16).padStart(24, "0"));
      const owners = await Promise.all(nodes.map((node) => claimSandbox(store, digest, node)));
      assert.equal(new Set(owners).size, 1, owners.join());
      assert.equal(await claimSandbox(store, digest, nodes[0] ?? ""), owners[0]);
    });

    test("collecting removes what nothing needs, and nothing else", async () => {
      const location = kind.fresh();
      await using a = await openNode(location);
      await using b = await openNode(location);
      const old = await makeTemplate(a.home, "kept", 8);
      const { digest } = await push(a, old);
      const young = await makeTemplate(a.home, "kept", 9);
      await push(a, young);
      await using store = await openNodeStore(a.config);
      const before = await keysOf(store);
      assert.equal((await collect(store)).removed, 0, "all of it is young");
      // A node that has begun to fetch the old version goes on.
      await using pulling = await Pull.open(b.home, b.config, { name: "kept", digest });
      await pulling.installFolders([old.parts.disk.base]);
      const now = { keepVersionsMs: 0, keepUnusedMs: 0 };
      await collect(store, now);
      await pulling.complete();
      const path = [...old.files.keys()].find((name) => name.endsWith("rootfs.ext4")) ?? "";
      assert.ok((await readFile(join(b.home.root, path))).equals(old.files.get(path) ?? Buffer.alloc(0)));
      // The node's hold on the memory, which it never asked for, is given back by nobody: it ends by itself.
      for (const key of await keysOf(store, "holds/")) await store.delete(key);
      const { removed } = await collect(store, now);
      assert.ok(removed > 0);
      assert.deepEqual((await verifyStore(store)).damage, []);
      const left = await keysOf(store);
      assert.ok(left.length < before.length);
      await using c = await openNode(location);
      await pull(c, "kept");
      await assertArrived(c, young);
    });
  });
}
