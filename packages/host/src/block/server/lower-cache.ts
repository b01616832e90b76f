import { type Lower, type LowerSource, openLower } from "../disk/lower.ts";

interface Shared {
  readonly lower: Promise<Lower>;
  users: number;
}

/** What lies below the session diffs, opened once for all disks of the same template and closed after the last. */
export class LowerCache {
  readonly #shared = new Map<string, Shared>();

  /** `release` may be called more than once. @throws KilnError, see `openLower`. */
  async take(source: LowerSource): Promise<{ lower: Lower; release: () => void }> {
    const key = JSON.stringify([source.base, source.layers, source.sizeBytes]);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = { lower: openLower(source), users: 0 };
      this.#shared.set(key, shared);
    }
    const mine = shared;
    mine.users++;
    let released = false;
    const drop = () => {
      if (released) return false;
      released = true;
      if (--mine.users > 0) return false;
      if (this.#shared.get(key) === mine) this.#shared.delete(key);
      return true;
    };
    try {
      const lower = await mine.lower;
      return {
        lower,
        release: () => {
          if (drop()) lower.close();
        },
      };
    } catch (error) {
      drop();
      throw error;
    }
  }
}
