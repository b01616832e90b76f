import { keys, type ObjectStore } from "../client/object-store.ts";
import { MAX_SMALL_OBJECT_BYTES } from "../format/limits.ts";

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
