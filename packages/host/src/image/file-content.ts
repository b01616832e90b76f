import type { BlockWriter } from "./block-writer.ts";
import type { BlockAllocator } from "./ext4/block-allocator.ts";
import { BLOCK_SIZE } from "./ext4/layout.ts";
import type { Extent, FileInode } from "./inode.ts";

/**
 * Blocks of zeros in a row that become a hole in the file. A shorter run keeps its blocks, which are not written and
 * thus cost nothing in a sparse image: the file stays in one extent.
 */
const MIN_HOLE_BLOCKS = 16;

const ZERO_BLOCK = Buffer.alloc(BLOCK_SIZE);

/** Puts one file's content on the disk while it streams in: at once, contiguous, block by block. */
export class FileContent {
  readonly #writer: BlockWriter;
  readonly #allocator: BlockAllocator;
  /** The block that is not yet whole. */
  readonly #partial = Buffer.alloc(BLOCK_SIZE);
  #partialBytes = 0;
  #extents: Extent[] = [];
  /** Position in the file of the next block. */
  #logical = 0;
  /** Blocks of zeros before it that are neither blocks nor a hole yet. */
  #zeros = 0;

  constructor(writer: BlockWriter, allocator: BlockAllocator) {
    this.#writer = writer;
    this.#allocator = allocator;
  }

  begin(inode: FileInode): void {
    this.#extents = inode.extents;
    this.#logical = 0;
    this.#zeros = 0;
    this.#partialBytes = 0;
  }

  write(bytes: Buffer): void {
    let at = 0;
    if (this.#partialBytes > 0) {
      at = Math.min(BLOCK_SIZE - this.#partialBytes, bytes.length);
      bytes.copy(this.#partial, this.#partialBytes, 0, at);
      this.#partialBytes += at;
      if (this.#partialBytes < BLOCK_SIZE) return;
      this.#partialBytes = 0;
      this.#blocks(this.#partial);
    }
    const whole = at + Math.floor((bytes.length - at) / BLOCK_SIZE) * BLOCK_SIZE;
    if (whole > at) this.#blocks(bytes.subarray(at, whole));
    if (whole < bytes.length) this.#partialBytes = bytes.copy(this.#partial, 0, whole);
  }

  end(): void {
    if (this.#partialBytes > 0) {
      this.#partial.fill(0, this.#partialBytes);
      this.#blocks(this.#partial);
    }
    if (this.#zeros > 0 && this.#zeros < MIN_HOLE_BLOCKS) this.#allocate(this.#zeros);
  }

  /** Whole blocks: runs of data are written, zeros counted. */
  #blocks(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const start = at;
      while (at < bytes.length && !isZero(bytes, at)) at += BLOCK_SIZE;
      if (at > start) this.#data(bytes.subarray(start, at));
      while (at < bytes.length && isZero(bytes, at)) {
        at += BLOCK_SIZE;
        this.#zeros++;
      }
    }
  }

  #data(bytes: Buffer): void {
    if (this.#zeros >= MIN_HOLE_BLOCKS) this.#logical += this.#zeros;
    else if (this.#zeros > 0) this.#allocate(this.#zeros);
    this.#zeros = 0;
    this.#writer.add(this.#allocate(bytes.length / BLOCK_SIZE), bytes);
  }

  #allocate(count: number): number {
    const start = this.#allocator.allocate(count);
    const last = this.#extents.at(-1);
    if (
      last !== undefined &&
      last.logical + last.count === this.#logical &&
      last.start + last.count === start
    ) {
      last.count += count;
    } else {
      this.#extents.push({ logical: this.#logical, start, count });
    }
    this.#logical += count;
    return start;
  }
}

function isZero(bytes: Buffer, at: number): boolean {
  // Most blocks have something in their first bytes: look there before a call into the runtime.
  if (bytes[at] !== 0 || bytes[at + 7] !== 0 || bytes[at + 64] !== 0) return false;
  return bytes.compare(ZERO_BLOCK, 0, BLOCK_SIZE, at, at + BLOCK_SIZE) === 0;
}
