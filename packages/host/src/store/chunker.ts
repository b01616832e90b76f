import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import type { Range } from "./data-ranges.ts";
import { BLOCK, MAX_CHUNK_BLOCKS } from "./format/limits.ts";

/** Read at once, in bytes: what was just read is then still in the processor's cache. */
const SLICE = 1024 * 1024;
const ZEROS = Buffer.alloc(256 * 1024);
/** So many blocks of zeros in a row are left out of chunks; fewer cost next to nothing once compressed. */
const GAP_BLOCKS = 16;

/** A stretch of a file that is to become a chunk. */
export interface Piece {
  /** First block of 4096 bytes. */
  block: number;
  blocks: number;
  /** Its bytes, until the next piece is asked for; the file's end may cut the last block. */
  content: Buffer;
}

export interface ChunkerOptions {
  /** Mean size of a chunk in blocks, a power of two. */
  meanBlocks: number;
  /** Whether a block counts; the others read as zeros. @default all do */
  counts?: ((block: number) => boolean) | undefined;
  /** Where the file is not a hole, in order. @default all of it */
  ranges?: readonly Range[] | undefined;
}

/** In bytes. */
export const longestPiece = (meanBlocks: number): number =>
  Math.min(MAX_CHUNK_BLOCKS, meanBlocks * 4) * BLOCK;

/**
 * Cuts a file into pieces where its content says so: after a block whose checksum has some zero bits. The same files
 * at other places in another image become the same pieces, as ext4 begins files at blocks. Stretches of zeros are left out.
 */
export async function* cutFile(
  file: FileHandle,
  sizeBytes: number,
  { meanBlocks, counts, ranges }: ChunkerOptions,
): AsyncGenerator<Piece> {
  const min = Math.max(1, meanBlocks / 4);
  const max = longestPiece(meanBlocks) / BLOCK;
  const buffer = Buffer.alloc(SLICE + max * BLOCK);
  /** Block at the buffer's beginning, and how many bytes are in it. */
  let base = 0;
  let held = 0;
  /** First block of the piece being gathered, or -1; blocks of zeros at its end so far. */
  let start = -1;
  let zeros = 0;
  const endBlock = Math.ceil(sizeBytes / BLOCK);
  const piece = (end: number): Piece => {
    const from = (start - base) * BLOCK;
    const to = Math.min((end - base) * BLOCK, held);
    const found = { block: start, blocks: end - start, content: buffer.subarray(from, to) };
    start = -1;
    zeros = 0;
    return found;
  };
  let block = 0;
  let range = 0;
  while (block < endBlock) {
    if (start < 0 && ranges) {
      while (range < ranges.length && (ranges[range]?.end ?? 0) <= block) range++;
      block = Math.max(block, ranges[range]?.block ?? endBlock);
      if (block >= endBlock) break;
    }
    // What is being gathered moves to the buffer's beginning.
    const keepFrom = start < 0 ? block : start;
    const passed = Math.min((keepFrom - base) * BLOCK, held);
    buffer.copy(buffer, 0, passed, held);
    held -= passed;
    base = keepFrom;
    const read = await readFully(file, buffer.subarray(held, held + SLICE), base * BLOCK + held, sizeBytes);
    held += read;
    const until = base + Math.ceil(held / BLOCK);
    while (block < until) {
      const at = (block - base) * BLOCK;
      if (start < 0 && isZero(buffer, at, Math.min(at + ZEROS.length, held))) {
        block = Math.min(until, block + ZEROS.length / BLOCK);
        continue;
      }
      const end = Math.min(at + BLOCK, held);
      if (isZero(buffer, at, end) || counts?.(block) === false) {
        buffer.fill(0, at, end);
        if (start >= 0 && (++zeros === GAP_BLOCKS || block + 1 - start === max))
          yield piece(block + 1 - zeros);
      } else {
        if (start < 0) start = block;
        zeros = 0;
        const blocks = block + 1 - start;
        if (blocks === max || (blocks >= min && crc32(buffer.subarray(at, end)) % meanBlocks === 0))
          yield piece(block + 1);
      }
      block++;
    }
  }
  if (start >= 0) yield piece(endBlock - zeros);
}

function isZero(buffer: Buffer, from: number, to: number): boolean {
  return buffer.compare(ZEROS, 0, to - from, from, to) === 0;
}

async function readFully(
  file: FileHandle,
  target: Buffer,
  position: number,
  sizeBytes: number,
): Promise<number> {
  const wanted = Math.min(target.length, sizeBytes - position);
  let done = 0;
  while (done < wanted) {
    const { bytesRead } = await file.read(target, done, wanted - done, position + done);
    if (bytesRead === 0) {
      // The file is shorter than was said: the rest reads as zeros.
      target.fill(0, done, wanted);
      return wanted;
    }
    done += bytesRead;
  }
  return done;
}
