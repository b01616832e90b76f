/** How long a server stays when nobody needs it, in milliseconds. */
const IDLE_MS = 60_000;

/** What a server that ends by itself is asked: connections alone, on which nobody asks for anything, do not keep it. */
export class Activity {
  #underWay = 0;
  #last = performance.now();

  async track<T>(work: T | Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await work;
    } finally {
      this.#underWay--;
      this.#last = performance.now();
    }
  }

  /** Calls `stop` when for a minute nothing was asked for, nothing is under way, and `isIdle` says that nobody would miss the server. */
  endWhenIdle(isIdle: () => boolean, stop: () => Promise<void>): void {
    setInterval(() => {
      if (this.#underWay > 0 || !isIdle()) this.#last = performance.now();
      else if (performance.now() - this.#last > IDLE_MS) void stop();
    }, IDLE_MS / 4);
  }
}
