import { inParallel } from "../../os/in-parallel.ts";
import { keys, type ObjectStore } from "../client/object-store.ts";
import { MAX_PACK_BYTES, MAX_SMALL_OBJECT_BYTES } from "../format/limits.ts";
import { readImageManifest } from "../known-chunks.ts";

const MAGIC = 0x54_4c_4b_31; // "1KLT"

/**
 * The parts of an image that starts have touched, in that order. It is a hint: whoever alters it in the store makes starts slower, no
 * more.
 */
export function encodeTrace(parts: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 + Math.min(parts.length, MAX_SMALL_OBJECT_BYTES / 4 - 1) * 4);
  bytes.writeUInt32LE(MAGIC, 0);
  for (let at = 4; at < bytes.length; at += 4) bytes.writeUInt32LE(parts[at / 4 - 1] ?? 0, at);
  return bytes;
}

/** @returns nothing for what is no trace. */
export function decodeTrace(bytes: Buffer): number[] {
  if (bytes.length % 4 !== 0 || bytes.length < 4 || bytes.readUInt32LE(0) !== MAGIC) return [];
  return Array.from({ length: bytes.length / 4 - 1 }, (_, index) => bytes.readUInt32LE(4 + index * 4));
}

export async function readTrace(store: ObjectStore, image: string): Promise<number[]> {
  const bytes = await store
    .get(keys.trace(image), { maxBytes: MAX_SMALL_OBJECT_BYTES })
    .catch(() => undefined);
  return bytes === undefined ? [] : decodeTrace(bytes);
}

/** Keeps a trace for others, where that is allowed. */
export async function writeTrace(store: ObjectStore, image: string, parts: readonly number[]): Promise<void> {
  await store.put(keys.trace(image), encodeTrace(parts)).catch(() => undefined);
}

/**
 * Puts the chunks of an image's trace together in one object, its start, in the trace's order and as they are stored: a few long requests
 * bring what are hundreds of short ones in packs. It needs no table, since the trace and the image's manifest tell where each chunk lies, and
 * no digest, since each chunk is checked.
 * @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`.
 */
export async function writeStart(store: ObjectStore, image: string, signal?: AbortSignal): Promise<void> {
  const parts = await readTrace(store, image);
  if (parts.length === 0 || (await store.head(keys.start(image), signal))) return;
  const { manifest } = await readImageManifest(store, image, signal);
  const chunks = parts.map((part) => manifest.chunks[part]).filter((chunk) => chunk !== undefined);
  if (chunks.reduce((sum, { stored }) => sum + stored, 0) > MAX_PACK_BYTES) return;
  const fetchPack = async (number: number, linked: AbortSignal) => {
    const pack = manifest.packs[number];
    const options = { maxBytes: pack?.length ?? 0, signal: linked };
    return [number, await store.get(keys.pack(pack?.digest ?? ""), options)] as const;
  };
  const numbers = new Set(chunks.map(({ pack }) => pack));
  const packs = new Map(await inParallel(numbers, fetchPack, { atOnce: 4, signal }));
  const stored = chunks.map(({ pack, offset, stored: length }) => {
    return packs.get(pack)?.subarray(offset, offset + length) ?? Buffer.alloc(length);
  });
  await store.put(keys.start(image), Buffer.concat(stored), signal);
}

/** Whether the chunks of an image's trace lie together in one object. */
export async function hasStart(store: ObjectStore, image: string): Promise<boolean> {
  return (await store.head(keys.start(image)).catch(() => undefined)) !== undefined;
}
