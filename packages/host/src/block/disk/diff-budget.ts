import type { Diff } from "./diff.ts";
import { BLOCK_SIZE, DATA } from "./geometry.ts";

/**
 * Keeps the room a diff takes on the host below a limit. Blocks that were zeroed keep their room, so the file system
 * is what counts; it is asked only when a count that errs on the high side has reached the limit.
 */
export class DiffBudget {
  readonly #diff: Diff;
  readonly #limit: number;
  /** At least what the file system has given. */
  #used: number;

  /** `limit`: in bytes. */
  constructor(diff: Diff, limit: number) {
    this.#diff = diff;
    this.#limit = limit;
    this.#used = diff.allocatedBytes();
  }

  /** Called before `count` blocks from `first` on are written. @throws an error with the code `ENOSPC`. */
  need(first: number, count: number): void {
    const { map } = this.#diff;
    let fresh = 0;
    const end = first + count;
    for (let block = first; block < end; ) {
      const next = map.runEnd(block, end);
      if (map.get(block) !== DATA) fresh += next - block;
      block = next;
    }
    if (fresh === 0) return;
    const bytes = fresh * BLOCK_SIZE;
    if (this.#used + bytes > this.#limit) {
      this.#used = this.#diff.allocatedBytes();
      if (this.#used + bytes > this.#limit) {
        throw Object.assign(new Error(`the diff may take ${this.#limit} bytes`), { code: "ENOSPC" });
      }
    }
    this.#used += bytes;
  }
}
