/** Longest delay of a timer, in milliseconds. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** Calls back for each name when its time has come. */
export class Expiry {
  readonly #onExpire: (name: string) => void;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(onExpire: (name: string) => void) {
    this.#onExpire = onExpire;
  }

  /** Sets, changes or, with undefined, removes the time of `name`, in milliseconds since 1970. */
  set(name: string, at: number | undefined): void {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
    if (at === undefined) return;
    const delay = Math.min(MAX_DELAY_MS, Math.max(0, at - Date.now()));
    const timer = setTimeout(() => {
      if (Date.now() < at) this.set(name, at);
      else {
        this.#timers.delete(name);
        this.#onExpire(name);
      }
    }, delay);
    timer.unref();
    this.#timers.set(name, timer);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
