import { statSync } from "node:fs";
import { join } from "node:path";
import { DATA_FILE } from "../disk/diff.ts";
import { type Lower, type LowerSource, openLower } from "../disk/lower.ts";

/** How long what nobody uses stays open, in milliseconds, and how much of that: opening it is most of a new disk's work. */
const IDLE_MS = 600_000;
const MAX_IDLE = 4;
/** How soon what was removed meanwhile is let go of, in milliseconds: an open file takes room though it has no name. */
const LOOK_MS = 5_000;

interface Shared {
  readonly lower: Promise<Lower>;
  readonly source: LowerSource;
  /** Which files they are: another may have taken a name since. Those that are open keep their numbers. */
  readonly files: string;
  users: number;
  /** While nobody uses it. */
  idle: NodeJS.Timeout | undefined;
}

/** What lies below the session diffs, opened once for all disks of the same template and closed some minutes after the last. */
export class LowerCache {
  readonly #shared = new Map<string, Shared>();

  /** `release` may be called more than once. @throws KilnError, see `openLower`. */
  async take(source: LowerSource): Promise<{ lower: Lower; release: () => void }> {
    const key = JSON.stringify([source.base, source.layers, source.sizeBytes]);
    const files = identify(source);
    let shared = this.#shared.get(key);
    if (shared === undefined || shared.files !== files) {
      if (shared?.users === 0) this.#close(key, shared);
      shared = { lower: openLower(source), source, files, users: 0, idle: undefined };
      this.#shared.set(key, shared);
    }
    const mine = shared;
    mine.users++;
    clearInterval(mine.idle);
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
    if (this.#shared.get(key) !== shared || lower.lazy) {
      this.#close(key, shared);
      return;
    }
    let left = IDLE_MS;
    shared.idle = setInterval(() => {
      left -= LOOK_MS;
      if (left <= 0 || !isStill(shared)) this.#close(key, shared);
    }, LOOK_MS).unref();
    // The map's order is that in which they began to rest.
    this.#shared.delete(key);
    this.#shared.set(key, shared);
    const idle = [...this.#shared].filter(([, { users }]) => users === 0);
    if (idle.length > MAX_IDLE && idle[0] !== undefined) this.#close(...idle[0]);
  }

  #close(key: string, shared: Shared): void {
    clearInterval(shared.idle);
    if (this.#shared.get(key) === shared) this.#shared.delete(key);
    void shared.lower.then((lower) => lower.close());
  }
}

/** Whether its files have their names. One that cannot be looked at is none that a timer may fail over. */
function isStill({ source, files }: Shared): boolean {
  try {
    return identify(source) === files;
  } catch {
    return false;
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
