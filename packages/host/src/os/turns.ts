import { KilnError } from "../errors.ts";

/** Lets so many through at once, in the order they came; a turn ends by itself when it takes too long. */
export class Turns {
  #free: number;
  readonly #limitMs: number;
  readonly #waiting: (() => void)[] = [];

  /** @param limitMs after so many milliseconds a turn no longer keeps others from theirs. */
  constructor(atOnce: number, limitMs: number) {
    this.#free = atOnce;
    this.#limitMs = limitMs;
  }

  /** Resolves when it is one's turn, with what ends that; to end it again does nothing. @throws KilnError `CANCELLED`. */
  async take(signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted) throw cancelled(signal);
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(signal);
    const timer = setTimeout(() => end(), this.#limitMs).unref();
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    };
    return end;
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(cancelled(signal));
      };
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#waiting.push(go);
    });
  }
}

const cancelled = (signal: AbortSignal | undefined) =>
  new KilnError("CANCELLED", "cancelled while waiting for its turn", { cause: signal?.reason });
