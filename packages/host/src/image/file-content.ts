import type { BlockWriter } from "./block-writer.ts";
import type { BlockAllocator } from "./ext4/block-allocator.ts";
import { BLOCK_SIZE } from "./ext4/layout.ts";
import type { BlockReader } from "./ext4/parent-image.ts";
import type { Extent, FileInode } from "./inode.ts";

/**
 * Blocks of zeros in a row that become a hole in the file. A shorter run keeps its blocks, which are not written and
 * thus cost nothing in a sparse image: the file stays in one extent.
 */
const MIN_HOLE_BLOCKS = 16;

const ZERO_BLOCK = Buffer.alloc(BLOCK_SIZE);

/**
 * Puts one file's content on the disk while it streams in: at once, contiguous, block by block. Blocks that a parent
 * image has at the same place of the same file stay where they are.
 */
export class FileContent {
  readonly #writer: BlockWriter;
  readonly #allocator: BlockAllocator;
  readonly #parent: BlockReader | undefined;
  /** The file's extents in the parent image. */
  #parentExtents: readonly Extent[] = [];
  /** The block that is not yet whole. */
  readonly #partial = Buffer.alloc(BLOCK_SIZE);
  #partialBytes = 0;
  #extents: Extent[] = [];
  /** Position in the file of the next block. */
  #logical = 0;
  /** Blocks of zeros before it that are neither blocks nor a hole yet. */
  #zeros = 0;

  /** @param parent the image to share blocks with */
  constructor(writer: BlockWriter, allocator: BlockAllocator, parent?: BlockReader) {
    this.#writer = writer;
    this.#allocator = allocator;
    this.#parent = parent;
  }

  /** @param parentExtents where the parent image has a file of this name; nobody else may go on using these blocks */
  begin(inode: FileInode, parentExtents: readonly Extent[] = []): void {
    this.#parentExtents = parentExtents;
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
    let at = 0;
    while (at < bytes.length) {
      const shared = this.#shared(bytes, at);
      if (shared.keep !== undefined) this.#append(shared.keep, shared.count);
      else {
        const part = bytes.subarray(at, at + shared.count * BLOCK_SIZE);
        const start = this.#allocator.allocate(shared.count);
        this.#writer.add(start, part);
        this.#append(start, shared.count);
      }
      at += shared.count * BLOCK_SIZE;
    }
  }

  /** Blocks of zeros that are not written. */
  #allocate(count: number): void {
    const zeros = this.#parent === undefined ? undefined : Buffer.alloc(count * BLOCK_SIZE);
    for (let done = 0; done < count; ) {
      const rest = zeros === undefined ? { keep: undefined, count } : this.#shared(zeros, done * BLOCK_SIZE);
      this.#append(rest.keep ?? this.#allocator.allocate(rest.count), rest.count);
      done += rest.count;
    }
  }

  /**
   * How many of the next blocks, from `at` on in `bytes`, the parent image has as they are, and where; or how many it has not.
   */
  #shared(bytes: Buffer, at: number): { keep: number | undefined; count: number } {
    const limit = (bytes.length - at) / BLOCK_SIZE;
    if (this.#parent === undefined) return { keep: undefined, count: limit };
    const extent = this.#parentExtents.find(({ logical, count }) => logical + count > this.#logical);
    if (extent === undefined) return { keep: undefined, count: limit };
    if (extent.logical > this.#logical) {
      return { keep: undefined, count: Math.min(limit, extent.logical - this.#logical) };
    }
    const offset = this.#logical - extent.logical;
    const count = Math.min(limit, extent.count - offset);
    const start = extent.start + offset;
    const there = this.#parent.read(start, count);
    const same = (block: number) =>
      there.compare(
        bytes,
        at + block * BLOCK_SIZE,
        at + (block + 1) * BLOCK_SIZE,
        block * BLOCK_SIZE,
        (block + 1) * BLOCK_SIZE,
      ) === 0;
    const first = same(0);
    let run = 1;
    while (run < count && same(run) === first) run++;
    if (first) this.#allocator.keep(start, run);
    return { keep: first ? start : undefined, count: run };
  }

  #append(start: number, count: number): void {
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
  }
}

function isZero(bytes: Buffer, at: number): boolean {
  // Most blocks have something in their first bytes: look there before a call into the runtime.
  if (bytes[at] !== 0 || bytes[at + 7] !== 0 || bytes[at + 64] !== 0) return false;
  return bytes.compare(ZERO_BLOCK, 0, BLOCK_SIZE, at, at + BLOCK_SIZE) === 0;
}
