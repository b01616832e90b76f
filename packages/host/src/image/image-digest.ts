import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { BLOCK_SIZE, type Ext4Layout, ext4Layout } from "./ext4/layout.ts";

const ZERO_BLOCK = Buffer.alloc(BLOCK_SIZE);
const READ_BYTES = 1024 * 1024;

/**
 * The digest of an image: SHA-256 over its size and its blocks that are not all zero, with their positions. It can be
 * taken while the image is written and, from the file alone, afterwards (`digestImage`), and does not depend on where a
 * file system keeps holes. Blocks are taken from the first data block to the end and then from block 0: the order in
 * which a writer knows them. Runs are marked at their end (first block and count, little-endian 64 bits each).
 */
export class ImageDigest {
  readonly #hash: Hash;
  readonly #mark = Buffer.alloc(16);
  #runStart = 0;
  #next = 0;

  constructor(sizeBytes: number) {
    this.#hash = createHash("sha256").update(`kiln ext4 image 1\n${sizeBytes}\n`);
  }

  /** Whole blocks from `block` on, none of them all zero. */
  add(block: number, bytes: Uint8Array): void {
    if (block !== this.#next) {
      this.#endRun();
      this.#runStart = block;
    }
    this.#hash.update(bytes);
    this.#next = block + bytes.length / BLOCK_SIZE;
  }

  /** `"sha256:<hex>"`. The digest takes nothing more after this. */
  finish(): string {
    this.#endRun();
    return `sha256:${this.#hash.digest("hex")}`;
  }

  #endRun(): void {
    if (this.#next === this.#runStart) return;
    this.#mark.writeBigUInt64LE(BigInt(this.#runStart), 0);
    this.#mark.writeBigUInt64LE(BigInt(this.#next - this.#runStart), 8);
    this.#hash.update(this.#mark);
  }
}

/**
 * Takes the digest of the image at `path`, reading all of it.
 * @throws KilnError `USAGE` when the file has no size an image may have.
 */
export async function digestImage(path: string, signal?: AbortSignal): Promise<string> {
  await using file = await open(path, "r");
  const layout = ext4Layout((await file.stat()).size);
  return await digestFile(file, layout, layout.blocks, signal); // The file stays open until then.
}

/**
 * The same for an open image.
 * @param endOfData a block from which on everything is known to be zero
 */
export async function digestFile(
  file: FileHandle,
  layout: Ext4Layout,
  endOfData: number,
  signal?: AbortSignal,
): Promise<string> {
  const digest = new ImageDigest(layout.sizeBytes);
  const buffer = Buffer.alloc(READ_BYTES);
  const order = [
    [layout.firstDataBlock, endOfData],
    [0, layout.firstDataBlock],
  ] as const;
  for (const [first, end] of order) {
    for (let block = first; block < end; ) {
      signal?.throwIfAborted();
      const wanted = Math.min(READ_BYTES, (end - block) * BLOCK_SIZE);
      const { bytesRead } = await file.read(buffer, 0, wanted, block * BLOCK_SIZE);
      const blocks = Math.floor(bytesRead / BLOCK_SIZE);
      if (blocks === 0) throw new Error("the image became shorter while it was read");
      addNonZero(digest, block, buffer.subarray(0, blocks * BLOCK_SIZE));
      block += blocks;
    }
  }
  return digest.finish();
}

function addNonZero(digest: ImageDigest, first: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
    const block = bytes.subarray(at, at + BLOCK_SIZE);
    if (!block.equals(ZERO_BLOCK)) digest.add(first + at / BLOCK_SIZE, block);
  }
}

/**
 * The digest of a layer: SHA-256 over that of the parent image and the blocks in which it differs, each with its position.
 * @param changes ascending; `zeros` are zero here and something else in the parent
 */
export async function digestLayer(
  file: FileHandle,
  parentDigest: string,
  changes: { data: readonly number[]; zeros: readonly number[] },
): Promise<string> {
  const hash = createHash("sha256").update(`kiln ext4 layer 1\n${parentDigest}\n`);
  const position = Buffer.alloc(8);
  const mark = (block: number) => {
    position.writeBigUInt64LE(BigInt(block));
    hash.update(position);
  };
  const buffer = Buffer.alloc(READ_BYTES);
  const { data } = changes;
  for (let index = 0; index < data.length; ) {
    const first = data[index] ?? 0;
    let count = 1;
    while (data[index + count] === first + count && (count + 1) * BLOCK_SIZE <= READ_BYTES) count++;
    const length = count * BLOCK_SIZE;
    const { bytesRead } = await file.read(buffer, 0, length, first * BLOCK_SIZE);
    if (bytesRead < length) throw new Error("the layer became shorter while it was read");
    for (let at = 0; at < length; at += BLOCK_SIZE) {
      mark(first + at / BLOCK_SIZE);
      hash.update(buffer.subarray(at, at + BLOCK_SIZE));
    }
    index += count;
  }
  hash.update("zeros\n");
  for (const block of changes.zeros) mark(block);
  return `sha256:${hash.digest("hex")}`;
}
