import type { Extent } from "../inode.ts";

/**
 * Hands out data blocks in ascending order, one after the other: the same archive gets the same blocks, and files are
 * contiguous. Counts on beyond the end of the disk, so that in the end one can say how big it should have been.
 *
 * An image that shares blocks with a parent has its own behind the parent's last one; those of the parent that
 * nobody keeps are free.
 */
export class BlockAllocator {
  readonly #first: number;
  /** The first block behind the parent's; as `#first` without a parent. */
  readonly #own: number;
  #next: number;
  readonly #released: Extent[] = [];
  /** The parent's blocks that are kept, a byte each. */
  readonly #kept: Uint8Array;

  /** @param parentNext the first block that a parent image leaves free. @default firstBlock */
  constructor(firstBlock: number, parentNext = firstBlock) {
    this.#first = firstBlock;
    this.#own = parentNext;
    this.#next = parentNext;
    this.#kept = new Uint8Array(parentNext - firstBlock);
  }

  /** The first block not yet handed out. */
  get next(): number {
    return this.#next;
  }

  /** Runs that were handed out and are free again, or that only the parent has; they are not used a second time. */
  get released(): readonly Extent[] {
    return [...this.#unkept(), ...this.#released];
  }

  /** The first of `count` blocks in a row. */
  allocate(count: number): number {
    const start = this.#next;
    this.#next += count;
    return start;
  }

  /** Goes on using blocks of the parent's. */
  keep(start: number, count: number): void {
    this.#kept.fill(1, start - this.#first, start - this.#first + count);
  }

  release(extents: readonly Extent[]): void {
    for (const extent of extents) {
      const parents = Math.min(Math.max(this.#own - extent.start, 0), extent.count);
      this.#kept.fill(0, extent.start - this.#first, extent.start - this.#first + parents);
      if (parents < extent.count) {
        this.#released.push({ ...extent, start: extent.start + parents, count: extent.count - parents });
      }
    }
  }

  #unkept(): Extent[] {
    const runs: Extent[] = [];
    for (let at = 0; at < this.#kept.length; ) {
      const start = this.#kept.indexOf(0, at);
      if (start === -1) break;
      const end = this.#kept.indexOf(1, start);
      at = end === -1 ? this.#kept.length : end;
      runs.push({ logical: 0, start: this.#first + start, count: at - start });
    }
    return runs;
  }
}
