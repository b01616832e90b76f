import type { FileHandle } from "node:fs/promises";
import { BLOCK_SIZE } from "./ext4/layout.ts";
import type { BlockReader } from "./ext4/parent-image.ts";
import type { ImageDigest } from "./image-digest.ts";

/** Bytes gathered before they are written. */
const BUFFER_BYTES = 2 * 1024 * 1024;
const ZERO_BLOCK = Buffer.alloc(BLOCK_SIZE);

interface Segment {
  readonly block: number;
  readonly offset: number;
  length: number;
}

interface Batch {
  readonly buffer: Buffer;
  readonly segments: Segment[];
  used: number;
}

/** Which blocks of an image differ from those of the parent image below it. */
export class LayerChanges {
  readonly #parent: BlockReader;
  /** From this block on the parent is zero. */
  readonly #end: number;
  /** Blocks whose content is in the layer. */
  readonly data = new Set<number>();
  /** Blocks that are zero, and not in the parent. */
  readonly zeros = new Set<number>();

  constructor(parent: BlockReader, end: number) {
    this.#parent = parent;
    this.#end = end;
  }

  /** Whether `block`, which is to be `bytes`, is something else in the parent; it then counts as changed. */
  change(block: number, bytes: Uint8Array): boolean {
    if (block < this.#end && this.#parent.read(block, 1).equals(bytes)) return false;
    this.data.add(block);
    this.zeros.delete(block);
    return true;
  }

  /** Makes `block` zero. */
  clear(block: number): void {
    this.data.delete(block);
    if (block < this.#end && !this.#parent.read(block, 1).equals(ZERO_BLOCK)) this.zeros.add(block);
  }
}

/**
 * Writes blocks to an image: neighbours are put together into large writes, and one batch is being written while
 * the next one fills. Adding is synchronous; call `drain` every so often to let the disk keep up. Dispose before the file is
 * closed.
 */
export class BlockWriter implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #blocks: number;
  readonly #digest: ImageDigest;
  readonly #layer: LayerChanges | undefined;
  #batch: Batch = newBatch();
  #full: Batch[] = [];
  #spare: Batch[] = [];
  #writing: Promise<void> = Promise.resolve();

  /**
   * @param blocks size of the image; what lies beyond is dropped
   * @param layer set when the file is a layer on a parent image: what is there as it is, is not written
   */
  constructor(file: FileHandle, blocks: number, digest: ImageDigest, layer?: LayerChanges) {
    this.#layer = layer;
    this.#file = file;
    this.#blocks = blocks;
    this.#digest = digest;
  }

  /** Takes a copy of whole blocks, none of them all zero, for the disk from `block` on. */
  add(block: number, bytes: Uint8Array): void {
    if (this.#layer === undefined) {
      this.#add(block, bytes);
      return;
    }
    for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
      const part = bytes.subarray(at, at + BLOCK_SIZE);
      if (this.#layer.change(block + at / BLOCK_SIZE, part)) this.#add(block + at / BLOCK_SIZE, part);
    }
  }

  #add(block: number, bytes: Uint8Array): void {
    let at = 0;
    const end = Math.min(bytes.length, Math.max(0, this.#blocks - block) * BLOCK_SIZE);
    while (at < end) {
      if (this.#batch.used === BUFFER_BYTES) {
        this.#full.push(this.#batch);
        this.#batch = this.#spare.pop() ?? newBatch();
      }
      const batch = this.#batch;
      const length = Math.min(end - at, BUFFER_BYTES - batch.used);
      batch.buffer.set(bytes.subarray(at, at + length), batch.used);
      const target = block + at / BLOCK_SIZE;
      const last = batch.segments.at(-1);
      if (last !== undefined && last.block + last.length / BLOCK_SIZE === target) last.length += length;
      else batch.segments.push({ block: target, offset: batch.used, length });
      batch.used += length;
      at += length;
    }
  }

  /** Like `add` for one block that may be all zero: the image is zero already. */
  addUnlessZero(block: number, bytes: Buffer): void {
    if (!bytes.equals(ZERO_BLOCK)) this.add(block, bytes);
    else this.#layer?.clear(block);
  }

  /** Starts writing what is full, and waits for what was started before. */
  async drain(): Promise<void> {
    while (this.#full.length > 0) {
      const batch = this.#full.shift();
      await this.#writing;
      if (batch !== undefined) this.#writing = this.#write(batch);
      this.#writing.catch(() => {}); // Reported by the next wait, which may come a while later.
    }
  }

  /** Writes everything. */
  async flush(): Promise<void> {
    this.#full.push(this.#batch);
    this.#batch = this.#spare.pop() ?? newBatch();
    await this.drain();
    await this.#writing;
  }

  /** Waits until nothing is being written any more; what was not flushed is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#full = [];
    await this.#writing.catch(() => {}); // Whoever disposes without a flush has an error of its own to report.
  }

  async #write(batch: Batch): Promise<void> {
    for (const { block, offset, length } of batch.segments) {
      const bytes = batch.buffer.subarray(offset, offset + length);
      const written = writeFully(this.#file, bytes, block * BLOCK_SIZE);
      this.#digest.add(block, bytes); // While the disk is busy.
      await written;
    }
    batch.segments.length = 0;
    batch.used = 0;
    this.#spare.push(batch);
  }
}

/** Writes all of `bytes`, however many calls that takes. */
export async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

function newBatch(): Batch {
  return { buffer: Buffer.allocUnsafe(BUFFER_BYTES), segments: [], used: 0 };
}
