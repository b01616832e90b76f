import { KilnError } from "../errors.ts";
import { inParallel } from "../os/in-parallel.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { checkDigest, damaged } from "./format/digest.ts";
import { type Chunk, contentLength } from "./format/image-manifest.ts";
import { MAX_PACK_BYTES } from "./format/limits.ts";
import { imagesOf } from "./format/template-manifest.ts";
import { readImageManifest } from "./known-chunks.ts";
import { listTags, readTemplateManifest } from "./references.ts";
import { listSandboxes, readSandboxManifest } from "./sandboxes.ts";
import { ChunkThreads } from "./threads/chunk-threads.ts";

const AT_ONCE = 4;

export interface Damage {
  /** What is damaged, and how. */
  message: string;
  /** What needs it: versions, as `name@sha256:…`, and sandboxes. */
  versions: string[];
}

export interface Verified {
  versions: number;
  /** Those that were handed over and nobody has taken yet. */
  sandboxes: number;
  packs: number;
  bytes: number;
  damage: Damage[];
}

interface NeededPack {
  length: number;
  chunks: Map<string, { chunk: Chunk; length: number }>;
  versions: Set<string>;
}

/** Reads everything that versions with a name and sandboxes need, and checks it against its addresses. */
export async function verifyStore(
  store: ObjectStore,
  onProgress?: (bytes: number, total: number) => void,
  signal?: AbortSignal,
): Promise<Verified> {
  const result: Verified = { versions: 0, sandboxes: 0, packs: 0, bytes: 0, damage: [] };
  const note = (error: unknown, versions: string[]) => {
    if (!(error instanceof KilnError) || error.code !== "STORE_DAMAGED") throw error;
    result.damage.push({ message: error.message, versions });
  };
  const packs = new Map<string, NeededPack>();
  const gatherAll = async (images: readonly string[], version: string) => {
    for (const image of images)
      await gather(store, image, version, packs, signal).catch((error: unknown) => note(error, [version]));
  };
  for (const { name, digest } of await listTags(store, signal)) {
    const version = `${name}@sha256:${digest}`;
    result.versions++;
    try {
      const manifest = await readTemplateManifest(store, { name, digest }, signal);
      await gatherAll(imagesOf(manifest.folders), version);
    } catch (error) {
      note(error, [version]);
    }
  }
  for await (const { id, digest } of listSandboxes(store, signal)) {
    result.sandboxes++;
    try {
      await gatherAll(
        imagesOf((await readSandboxManifest(store, { id, digest }, signal)).folders),
        `sandbox ${id}`,
      );
    } catch (error) {
      note(error, [`sandbox ${id}`]);
    }
  }
  const total = [...packs.values()].reduce((sum, { length }) => sum + length, 0);
  await using threads = new ChunkThreads();
  const check = async ([digest, pack]: [string, NeededPack], linked: AbortSignal) => {
    try {
      await verifyPack(store, threads, digest, pack, linked);
    } catch (error) {
      note(error, [...pack.versions]);
    }
    result.packs++;
    result.bytes += pack.length;
    onProgress?.(result.bytes, total);
  };
  await inParallel(packs, check, { atOnce: AT_ONCE, signal });
  return result;
}

async function gather(
  store: ObjectStore,
  image: string,
  version: string,
  packs: Map<string, NeededPack>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { manifest } = await readImageManifest(store, image, signal);
  for (const chunk of manifest.chunks) {
    const pack = manifest.packs[chunk.pack];
    if (pack === undefined) continue;
    let needed = packs.get(pack.digest);
    if (needed === undefined) {
      needed = { length: pack.length, chunks: new Map(), versions: new Set() };
      packs.set(pack.digest, needed);
    }
    needed.versions.add(version);
    needed.chunks.set(`${chunk.digest} ${chunk.offset} ${chunk.stored}`, {
      chunk,
      length: contentLength(manifest, chunk),
    });
  }
}

async function verifyPack(
  store: ObjectStore,
  threads: ChunkThreads,
  digest: string,
  pack: NeededPack,
  signal: AbortSignal | undefined,
): Promise<void> {
  const what = `pack ${digest}`;
  const bytes = await store.get(keys.pack(digest), { maxBytes: MAX_PACK_BYTES, signal });
  if (bytes === undefined) throw damaged(what, "it is missing");
  if (bytes.length !== pack.length) throw damaged(what, "it has another length");
  checkDigest(what, bytes, digest);
  const chunks = [...pack.chunks.values()].map(({ chunk, length }) => ({ ...chunk, length, position: 0 }));
  const [first] = (await threads.run({ kind: "unpack", bytes, chunks, fd: undefined })).refused;
  if (first) throw damaged(`chunk ${chunks[first.index]?.digest} of ${what}`, first.why);
}
