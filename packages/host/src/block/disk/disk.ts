import type { BlockMap } from "./block-map.ts";
import type { Diff } from "./diff.ts";
import { DiffBudget } from "./diff-budget.ts";
import { ABSENT, BLOCK_SIZE, DATA, ZERO } from "./geometry.ts";
import { FileLayer, type Layer } from "./layer.ts";
import { LOWER_ZERO, type Lower } from "./lower.ts";
import { writeWhole } from "./whole-io.ts";

/**
 * What a flush does. `disk`: brings everything to stable storage. `process`: nothing, since every acknowledged write is
 * already in the host's page cache and survives the death of any process; a power cut of the host may lose it.
 */
export type Durability = "disk" | "process";

/** A stretch of the device in one state, for NBD's block status. */
export interface Extent {
  length: number;
  zero: boolean;
}

/** Where a block is: a layer's index in `lower.layers`, `LOWER_ZERO`, or the session's own diff. */
const SESSION = 254;

/**
 * One copy-on-write device: a session's diff on top of what is below. Ranges are in bytes and must lie inside the
 * device: the connection has checked them. Reads, writes and zeroing are done when the call returns, and then survive
 * the death of this process.
 */
export class Disk {
  readonly sizeBytes: number;
  #lower: Lower;
  #table: Uint8Array | undefined;
  #diff: Diff;
  #map: BlockMap;
  #session: Layer;
  #budget: DiffBudget | undefined;
  #held = false;
  readonly #durability: Durability;
  readonly #maxDiffBytes: number | undefined;
  readonly #oneBlock = Buffer.allocUnsafeSlow(BLOCK_SIZE);
  #flushing: Promise<void> | undefined;
  #nextFlush: Promise<void> | undefined;

  /** `maxDiffBytes`: room the diff may take on the host, in bytes; a write that needs more fails with ENOSPC. */
  constructor(lower: Lower, diff: Diff, durability: Durability, maxDiffBytes?: number) {
    this.sizeBytes = lower.sizeBytes;
    this.#lower = lower;
    this.#table = lower.table;
    this.#diff = diff;
    this.#map = diff.map;
    this.#session = new FileLayer(diff.dataFd);
    this.#durability = durability;
    this.#maxDiffBytes = maxDiffBytes;
    if (maxDiffBytes !== undefined) this.#budget = new DiffBudget(diff, maxDiffBytes);
  }

  /** Whether requests are to wait: the disk is getting a new diff. */
  get held(): boolean {
    return this.#held;
  }

  /**
   * Seals the diff (durably) and goes on with an empty one above it. `prepare` makes that, and the view of what is
   * then below, while nothing writes. Requests wait from the call on until this settles: the caller wakes their
   * connections up then. When it fails before the diff is sealed, the disk goes on with the diff it has.
   */
  async rotate(prepare: () => Promise<{ lower: Lower; diff: Diff }>): Promise<void> {
    this.#held = true;
    try {
      await this.settle();
      const { lower, diff } = await prepare();
      await this.#diff.seal();
      this.#lower = lower;
      this.#table = lower.table;
      this.#diff = diff;
      this.#map = diff.map;
      this.#session = new FileLayer(diff.dataFd);
      if (this.#maxDiffBytes !== undefined) this.#budget = new DiffBudget(diff, this.#maxDiffBytes);
    } finally {
      this.#held = false;
    }
  }

  /**
   * Brings what is below a stretch and is not here yet: undefined when all is. For a write that is only its ends, as whole blocks do
   * not need what was there. What cannot be brought fails when it is read.
   */
  fetch(length: number, offset: number, forWrite: boolean): Promise<unknown> | undefined {
    if (!this.#lower.lazy || length === 0) return undefined;
    const fetching: Promise<void>[] = [];
    const end = offset + length;
    if (!forWrite) this.#fetch(offset, end, fetching);
    else {
      if (offset % BLOCK_SIZE !== 0) this.#fetch(offset, Math.min(end, offset + 1), fetching);
      if (end % BLOCK_SIZE !== 0) this.#fetch(end - 1, end, fetching);
    }
    return fetching.length === 0 ? undefined : Promise.allSettled(fetching);
  }

  #fetch(offset: number, end: number, fetching: Promise<void>[]): void {
    const endBlock = Math.ceil(end / BLOCK_SIZE);
    let block = Math.floor(offset / BLOCK_SIZE);
    while (block < endBlock) {
      const place = this.#placeOf(block);
      const until = this.#runEnd(block, endBlock);
      if (place !== LOWER_ZERO && place !== SESSION) {
        const fetched = this.#lower.layers[place]?.fetch?.((until - block) * BLOCK_SIZE, block * BLOCK_SIZE);
        if (fetched) fetching.push(fetched);
      }
      block = until;
    }
  }

  /** Reads into `target` at `at`; neighbouring blocks of one layer are one read. @throws a Node.js system error. */
  read(target: Buffer, at: number, length: number, offset: number): void {
    const end = offset + length;
    const endBlock = Math.ceil(end / BLOCK_SIZE);
    let position = offset;
    let block = Math.floor(offset / BLOCK_SIZE);
    while (position < end) {
      const place = this.#placeOf(block);
      block = this.#runEnd(block, endBlock);
      const until = block < endBlock ? block * BLOCK_SIZE : end;
      this.#readFrom(place, target, at + (position - offset), until - position, position);
      position = until;
    }
  }

  /** Writes from `source` at `at`. @throws a Node.js system error; what is below is then still what is read. */
  write(source: Buffer, at: number, length: number, offset: number): void {
    const end = offset + length;
    let position = offset;
    const intoBlock = position % BLOCK_SIZE;
    if (intoBlock !== 0) {
      const part = Math.min(BLOCK_SIZE - intoBlock, length);
      this.#writePart(source, at, part, position);
      position += part;
    }
    const wholeEnd = end - (end % BLOCK_SIZE);
    if (position < wholeEnd) {
      this.#budget?.need(position / BLOCK_SIZE, (wholeEnd - position) / BLOCK_SIZE);
      writeWhole(this.#diff.dataFd, source, at + (position - offset), wholeEnd - position, position);
      this.#map.set(position / BLOCK_SIZE, (wholeEnd - position) / BLOCK_SIZE, DATA);
      position = wholeEnd;
    }
    if (position < end) this.#writePart(source, at + (position - offset), end - position, position);
  }

  /** Makes a range read as zeros. Whole blocks cost two bits each, whatever they held. @throws a Node.js system error. */
  zero(length: number, offset: number): void {
    const end = offset + length;
    const firstWhole = Math.ceil(offset / BLOCK_SIZE) * BLOCK_SIZE;
    const wholeEnd = end - (end % BLOCK_SIZE);
    if (firstWhole > wholeEnd) {
      this.#writePart(ZEROS, 0, length, offset);
      return;
    }
    if (offset < firstWhole) this.#writePart(ZEROS, 0, firstWhole - offset, offset);
    if (firstWhole < wholeEnd) {
      this.#map.set(firstWhole / BLOCK_SIZE, (wholeEnd - firstWhole) / BLOCK_SIZE, ZERO);
    }
    if (wholeEnd < end) this.#writePart(ZEROS, 0, end - wholeEnd, wholeEnd);
  }

  /** Forgets a range: its whole blocks read as zeros afterwards, its ragged ends stay. @throws a Node.js system error. */
  trim(length: number, offset: number): void {
    const first = Math.ceil(offset / BLOCK_SIZE);
    const end = Math.floor((offset + length) / BLOCK_SIZE);
    if (first < end) this.#map.set(first, end - first, ZERO);
  }

  /**
   * Resolves when every write acknowledged before the call is as safe as `durability` promises. Calls that come while
   * a flush is running share the one after it.
   */
  flush(): Promise<void> {
    if (this.#durability === "process") return Promise.resolve();
    if (this.#flushing === undefined) {
      this.#flushing = this.#diff.sync().finally(() => {
        this.#flushing = undefined;
      });
      return this.#flushing;
    }
    this.#nextFlush ??= this.#flushing
      .catch(() => undefined)
      .then(() => {
        this.#nextFlush = undefined;
        return this.flush();
      });
    return this.#nextFlush;
  }

  /** The stretches of zeros and of (possible) data in a range, at most `limit` of them, from its start on. */
  extents(length: number, offset: number, limit: number): Extent[] {
    const found: Extent[] = [];
    const end = offset + length;
    const endBlock = Math.ceil(end / BLOCK_SIZE);
    let position = offset;
    let block = Math.floor(offset / BLOCK_SIZE);
    while (position < end && found.length < limit) {
      const zero = this.#placeOf(block) === LOWER_ZERO;
      do block = this.#runEnd(block, endBlock);
      while (block < endBlock && (this.#placeOf(block) === LOWER_ZERO) === zero);
      const until = Math.min(block * BLOCK_SIZE, end);
      found.push({ length: until - position, zero });
      position = until;
    }
    return found;
  }

  /** Blocks the session's diff holds, by kind, and the room it takes on the host. */
  allocation(): { dataBlocks: number; zeroBlocks: number; dataBytes: number } {
    const [, dataBlocks, zeroBlocks] = this.#map.counts();
    return { dataBlocks, zeroBlocks, dataBytes: this.#diff.allocatedBytes() };
  }

  /** Makes the session's diff an immutable layer. The disk must not be written to any more. */
  async seal(): Promise<void> {
    await this.settle();
    await this.#diff.seal();
  }

  /** Waits for running flushes. After this, and with no client left, the diff may be closed. */
  async settle(): Promise<void> {
    while (this.#flushing !== undefined || this.#nextFlush !== undefined) {
      await Promise.allSettled([this.#flushing, this.#nextFlush]);
    }
  }

  #placeOf(block: number): number {
    const state = this.#map.get(block);
    if (state === DATA) return SESSION;
    if (state === ZERO) return LOWER_ZERO;
    return this.#table === undefined ? 0 : (this.#table[block] ?? 0);
  }

  /** End of a run of blocks in the same place as `block`, `limit` at most. A longer run may follow as another one. */
  #runEnd(block: number, limit: number): number {
    const end = this.#map.runEnd(block, limit);
    if (this.#table === undefined || this.#map.get(block) !== ABSENT) return end;
    const place = this.#table[block];
    let next = block + 1;
    while (next < end && this.#table[next] === place) next++;
    return next;
  }

  #readFrom(place: number, target: Buffer, at: number, length: number, position: number): void {
    if (place === LOWER_ZERO) target.fill(0, at, at + length);
    else if (place === SESSION) this.#session.read(target, at, length, position);
    else this.#lower.layers[place]?.read(target, at, length, position);
  }

  /** Writes less than a block, inside one block. A block the diff doesn't hold yet is completed from below first. */
  #writePart(source: Buffer, at: number, length: number, offset: number): void {
    const block = Math.floor(offset / BLOCK_SIZE);
    if (this.#map.get(block) === DATA) {
      writeWhole(this.#diff.dataFd, source, at, length, offset);
      return;
    }
    this.#budget?.need(block, 1);
    const start = block * BLOCK_SIZE;
    this.#readFrom(this.#placeOf(block), this.#oneBlock, 0, BLOCK_SIZE, start);
    source.copy(this.#oneBlock, offset - start, at, at + length);
    writeWhole(this.#diff.dataFd, this.#oneBlock, 0, BLOCK_SIZE, start);
    this.#map.set(block, 1, DATA);
  }
}

const ZEROS = Buffer.alloc(BLOCK_SIZE);
