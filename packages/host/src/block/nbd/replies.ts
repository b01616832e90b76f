import type { Extent } from "../disk/disk.ts";
import type { Output } from "./output.ts";
import {
  ALLOCATION_CONTEXT_ID,
  CHUNK_DONE,
  CHUNK_HEADER_SIZE,
  Chunk,
  EXTENT_HOLE,
  EXTENT_ZERO,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./protocol.ts";

/** Most extents in one answer about block status. A client asks on from where the answer ends. */
export const MAX_EXTENTS = 4096;

/**
 *     ┌───────┬───────┬────────┬────────────────────┐
 *     │ magic │ error │ cookie │ a read's data …    │
 *     └───────┴───────┴────────┴────────────────────┘
 *     0       4       8        16
 */
export function putSimpleReply(bytes: Buffer, at: number, error: number, high: number, low: number): void {
  bytes.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  bytes.writeUInt32BE(error, at + 4);
  bytes.writeUInt32BE(high, at + 8);
  bytes.writeUInt32BE(low, at + 12);
}

/**
 *     ┌───────┬───────┬──────┬────────┬────────┬───────────┐
 *     │ magic │ flags │ type │ cookie │ length │ payload … │
 *     └───────┴───────┴──────┴────────┴────────┴───────────┘
 *     0       4       6      8        16       20
 */
export function putChunkHeader(
  bytes: Buffer,
  at: number,
  done: boolean,
  type: number,
  high: number,
  low: number,
  length: number,
): void {
  bytes.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  bytes.writeUInt16BE(done ? CHUNK_DONE : 0, at + 4);
  bytes.writeUInt16BE(type, at + 6);
  bytes.writeUInt32BE(high, at + 8);
  bytes.writeUInt32BE(low, at + 12);
  bytes.writeUInt32BE(length, at + 16);
}

/** Payload: error number, length of a message (none). */
export function putErrorChunk(output: Output, error: number, high: number, low: number): void {
  const at = output.claim(CHUNK_HEADER_SIZE + 6);
  const bytes = output.bytes;
  putChunkHeader(bytes, at, true, Chunk.ERROR, high, low, 6);
  bytes.writeUInt32BE(error, at + CHUNK_HEADER_SIZE);
  bytes.writeUInt16BE(0, at + CHUNK_HEADER_SIZE + 4);
}

/** Payload: number of the context, then length and flags of each extent. */
export function putBlockStatus(output: Output, extents: readonly Extent[], high: number, low: number): void {
  const length = 4 + 8 * extents.length;
  const start = output.claim(CHUNK_HEADER_SIZE + length);
  const bytes = output.bytes;
  putChunkHeader(bytes, start, true, Chunk.BLOCK_STATUS, high, low, length);
  let at = start + CHUNK_HEADER_SIZE;
  bytes.writeUInt32BE(ALLOCATION_CONTEXT_ID, at);
  at += 4;
  for (const extent of extents) {
    bytes.writeUInt32BE(extent.length, at);
    bytes.writeUInt32BE(extent.zero ? EXTENT_HOLE | EXTENT_ZERO : 0, at + 4);
    at += 8;
  }
}
