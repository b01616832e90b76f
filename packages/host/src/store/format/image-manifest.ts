import { damaged } from "./digest.ts";
import {
  BLOCK,
  MAX_CHUNK_BLOCKS,
  MAX_IMAGE_BYTES,
  MAX_IMAGE_MANIFEST_BYTES,
  MAX_PACK_BYTES,
  MAX_PACKS,
} from "./limits.ts";

const MAGIC = "KILNIMGM";
const VERSION = 1;
const HEADER_SIZE = 64;
const PACK_SIZE = 40;
const CHUNK_SIZE = 48;
const DIGEST_SIZE = 32;
/** In a chunk's stored length: the bytes are the content itself, not a zstd frame. */
const RAW = 0x8000_0000;

/** Chunks that were stored one after another in one object. */
export interface Pack {
  /** Its name, and the SHA-256 of all of it. */
  digest: string;
  /** In bytes. */
  length: number;
}

/** A stretch of an image that is not all zero, and where it is stored. */
export interface Chunk {
  /** SHA-256 of the content, uncompressed. */
  digest: string;
  /** Its first block of 4096 bytes in the image. */
  block: number;
  /** How many blocks; the image's end may cut the last one. */
  blocks: number;
  /** Index in `packs`. */
  pack: number;
  /** Where it begins in the pack, in bytes. */
  offset: number;
  /** Its length there, in bytes. */
  stored: number;
  /** Whether it is stored as it is, since zstd made it no smaller. */
  raw: boolean;
}

/** A file of any kind as chunks by position; what lies between them is zero. */
export interface ImageManifest {
  sizeBytes: number;
  packs: readonly Pack[];
  chunks: readonly Chunk[];
}

/** How many bytes of content a chunk has. */
export function contentLength(
  image: { sizeBytes: number },
  chunk: { block: number; blocks: number },
): number {
  return Math.min(chunk.blocks * BLOCK, image.sizeBytes - chunk.block * BLOCK);
}

/**
 *     ┌──────────┬─────────┬────────────┬──────┬───────┬────────┬───────┐ ┌────────┬────────┐ ┌────────┬───────┬────────┬──────┬────────┬────────┐
 *     │ KILNIMGM │ version │ block size │ size │ packs │ chunks │ zeros │ │ digest │ length │…│ digest │ block │ blocks │ pack │ offset │ stored │…
 *     └──────────┴─────────┴────────────┴──────┴───────┴────────┴───────┘ └────────┴────────┘ └────────┴───────┴────────┴──────┴────────┴────────┘
 *     0          8         12           16     24      28       32     64 0        32      40 0        32      36       38     40       44      48
 *
 * All numbers are little-endian.
 */
export function encodeImageManifest({ sizeBytes, packs, chunks }: ImageManifest): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE + packs.length * PACK_SIZE + chunks.length * CHUNK_SIZE);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(BLOCK, 12);
  bytes.writeBigUInt64LE(BigInt(sizeBytes), 16);
  bytes.writeUInt32LE(packs.length, 24);
  bytes.writeUInt32LE(chunks.length, 28);
  let at = HEADER_SIZE;
  for (const { digest, length } of packs) {
    bytes.write(digest, at, "hex");
    bytes.writeBigUInt64LE(BigInt(length), at + DIGEST_SIZE);
    at += PACK_SIZE;
  }
  for (const chunk of chunks) {
    bytes.write(chunk.digest, at, "hex");
    bytes.writeUInt32LE(chunk.block, at + 32);
    bytes.writeUInt16LE(chunk.blocks, at + 36);
    bytes.writeUInt16LE(chunk.pack, at + 38);
    bytes.writeUInt32LE(chunk.offset, at + 40);
    bytes.writeUInt32LE(chunk.raw ? chunk.stored + RAW : chunk.stored, at + 44);
    at += CHUNK_SIZE;
  }
  return bytes;
}

/**
 * Reads a manifest that anybody may have written: every number is checked before it is used.
 * @param what names it in errors.
 * @throws KilnError `STORE_DAMAGED`.
 */
export function decodeImageManifest(bytes: Buffer, what: string): ImageManifest {
  const refuse = (why: string) => damaged(what, why);
  if (bytes.length < HEADER_SIZE || bytes.toString("latin1", 0, 8) !== MAGIC) {
    throw refuse("it is not an image manifest");
  }
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) throw refuse(`its version is ${version}, this Kiln reads ${VERSION}`);
  if (bytes.readUInt32LE(12) !== BLOCK) throw refuse("its blocks are not of 4096 bytes");
  if (bytes.subarray(32, HEADER_SIZE).some((byte) => byte !== 0))
    throw refuse("its header has unknown fields");
  const sizeBytes = Number(bytes.readBigUInt64LE(16));
  const packCount = bytes.readUInt32LE(24);
  const chunkCount = bytes.readUInt32LE(28);
  if (sizeBytes > MAX_IMAGE_BYTES) throw refuse("the image is larger than 1 TiB");
  if (packCount > MAX_PACKS) throw refuse("it has too many packs");
  const length = HEADER_SIZE + packCount * PACK_SIZE + chunkCount * CHUNK_SIZE;
  if (bytes.length !== length || length > MAX_IMAGE_MANIFEST_BYTES) throw refuse("its length is wrong");
  const packs: Pack[] = [];
  let at = HEADER_SIZE;
  for (; packs.length < packCount; at += PACK_SIZE) {
    const packLength = Number(bytes.readBigUInt64LE(at + DIGEST_SIZE));
    if (packLength > MAX_PACK_BYTES) throw refuse("a pack is longer than 64 MiB");
    packs.push({ digest: bytes.toString("hex", at, at + DIGEST_SIZE), length: packLength });
  }
  const chunks: Chunk[] = [];
  const endBlock = Math.ceil(sizeBytes / BLOCK);
  let next = 0;
  for (; chunks.length < chunkCount; at += CHUNK_SIZE) {
    const chunk = decodeChunk(bytes, at);
    if (chunk.block < next || chunk.blocks === 0 || chunk.blocks > MAX_CHUNK_BLOCKS) {
      throw refuse("its chunks overlap, are out of order, empty or too long");
    }
    next = chunk.block + chunk.blocks;
    if (next > endBlock) throw refuse("a chunk lies behind the image's end");
    const pack = packs[chunk.pack];
    if (pack === undefined || chunk.stored === 0 || chunk.offset + chunk.stored > pack.length) {
      throw refuse("a chunk lies outside its pack");
    }
    if (
      chunk.stored > contentLength({ sizeBytes }, chunk) ||
      (chunk.raw && chunk.stored !== contentLength({ sizeBytes }, chunk))
    ) {
      throw refuse("a chunk's stored length is not possible");
    }
    chunks.push(chunk);
  }
  return { sizeBytes, packs, chunks };
}

function decodeChunk(bytes: Buffer, at: number): Chunk {
  const stored = bytes.readUInt32LE(at + 44);
  return {
    digest: bytes.toString("hex", at, at + DIGEST_SIZE),
    block: bytes.readUInt32LE(at + 32),
    blocks: bytes.readUInt16LE(at + 36),
    pack: bytes.readUInt16LE(at + 38),
    offset: bytes.readUInt32LE(at + 40),
    stored: stored % RAW,
    raw: stored >= RAW,
  };
}
