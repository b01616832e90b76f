import type { Extent } from "../inode.ts";

/**
 * Hands out data blocks in ascending order, one after the other: the same archive gets the same blocks, and files are
 * contiguous. Counts on beyond the end of the disk, so that in the end one can say how big it should have been.
 */
export class BlockAllocator {
  #next: number;
  readonly #released: Extent[] = [];

  constructor(firstBlock: number) {
    this.#next = firstBlock;
  }

  /** The first block not yet handed out. */
  get next(): number {
    return this.#next;
  }

  /** Runs that were handed out and are free again; they are not used a second time. */
  get released(): readonly Extent[] {
    return this.#released;
  }

  /** The first of `count` blocks in a row. */
  allocate(count: number): number {
    const start = this.#next;
    this.#next += count;
    return start;
  }

  release(extents: readonly Extent[]): void {
    for (const extent of extents) this.#released.push(extent);
  }
}
