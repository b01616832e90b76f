import { statSync } from "node:fs";
import { join } from "node:path";
import { DATA_FILE } from "../disk/diff.ts";
import { type Lower, type LowerSource, openLower } from "../disk/lower.ts";

/** How long what nobody uses stays open, in milliseconds, and how much of that: the next disk of the template often comes soon. */
const IDLE_MS = 10_000;
const MAX_IDLE = 4;

interface Shared {
  readonly lower: Promise<Lower>;
  /** Which files they are: another may have taken a name since. Those that are open keep their numbers. */
  readonly files: string;
  users: number;
  idle: NodeJS.Timeout | undefined;
}

/** What lies below the session diffs, opened once for all disks of the same template and closed some time after the last. */
export class LowerCache {
  readonly #shared = new Map<string, Shared>();

  /** `release` may be called more than once. @throws KilnError, see `openLower`. */
  async take(source: LowerSource): Promise<{ lower: Lower; release: () => void }> {
    const key = JSON.stringify([source.base, source.layers, source.sizeBytes]);
    const files = identify(source);
    let shared = this.#shared.get(key);
    if (shared === undefined || shared.files !== files) {
      this.#shared.delete(key);
      if (shared?.users === 0) this.#close(shared);
      shared = { lower: openLower(source), files, users: 0, idle: undefined };
      this.#shared.set(key, shared);
    }
    const mine = shared;
    mine.users++;
    clearTimeout(mine.idle);
    let released = false;
    const drop = () => {
      if (released) return false;
      released = true;
      return --mine.users === 0;
    };
    try {
      const lower = await mine.lower;
      return {
        lower,
        release: () => {
          if (drop()) this.#rest(key, mine, lower);
        },
      };
    } catch (error) {
      drop();
      if (this.#shared.get(key) === mine) this.#shared.delete(key);
      throw error;
    }
  }

  /** Nobody uses it any more. What is fetched from afar needs others that want to rest as well. */
  #rest(key: string, shared: Shared, lower: Lower): void {
    const end = () => {
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
      lower.close();
    };
    const idle = [...this.#shared.values()].filter(({ users }) => users === 0).length;
    if (this.#shared.get(key) !== shared || lower.lazy || idle > MAX_IDLE) end();
    else shared.idle = setTimeout(end, IDLE_MS).unref();
  }

  #close(shared: Shared): void {
    clearTimeout(shared.idle);
    void shared.lower.then((lower) => lower.close());
  }
}

function identify({ base, layers }: LowerSource): string {
  const paths = [base, ...layers.map((layer) => join(layer, DATA_FILE))];
  return paths
    .map((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? "none" : `${found.dev}:${found.ino}`;
    })
    .join();
}
