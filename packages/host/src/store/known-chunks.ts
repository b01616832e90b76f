import { inParallel } from "../os/in-parallel.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { checkDigest } from "./format/digest.ts";
import { decodeImageManifest, type ImageManifest, type Pack } from "./format/image-manifest.ts";
import { MAX_IMAGE_MANIFEST_BYTES } from "./format/limits.ts";

/** Where a chunk's content is stored, or will be when its pack is complete. */
export interface Slot {
  pack: Pack | undefined;
  offset: number;
  stored: number;
  raw: boolean;
}

/** Chunks by their address. */
export type KnownChunks = Map<string, Slot>;

/** Manifests read at once. */
const AT_ONCE = 16;

/** The image manifest `digest`. @throws KilnError `STORE_DAMAGED` when it is missing or altered. */
export async function readImageManifest(
  store: ObjectStore,
  digest: string,
  signal?: AbortSignal,
): Promise<{ manifest: ImageManifest; bytes: Buffer }> {
  const what = `image manifest ${digest}`;
  const bytes = await store.get(keys.image(digest), { maxBytes: MAX_IMAGE_MANIFEST_BYTES, signal });
  if (bytes === undefined) {
    const { damaged } = await import("./format/digest.ts");
    throw damaged(what, "it is missing");
  }
  return { manifest: decodeImageManifest(checkDigest(what, bytes, digest), what), bytes };
}

/** All chunks that published images have: a push refers to them instead of sending them again. What is damaged is left out. */
export async function readKnownChunks(store: ObjectStore, signal?: AbortSignal): Promise<KnownChunks> {
  const known: KnownChunks = new Map();
  const digests: string[] = [];
  for await (const { key } of store.list("images/", signal)) digests.push(key.slice("images/".length));
  digests.sort(); // The same store gives the same packs.
  const read = async (digest: string, linked: AbortSignal) => {
    const found = await readImageManifest(store, digest, linked).catch((error: unknown) => {
      linked.throwIfAborted();
      if (isDamage(error)) return undefined;
      throw error;
    });
    for (const { digest: chunk, pack, offset, stored, raw } of found?.manifest.chunks ?? []) {
      if (!known.has(chunk)) known.set(chunk, { pack: found?.manifest.packs[pack], offset, stored, raw });
    }
  };
  await inParallel(digests, read, { atOnce: AT_ONCE, signal });
  return known;
}

const isDamage = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "STORE_DAMAGED";
