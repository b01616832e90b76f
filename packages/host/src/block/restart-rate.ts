import { KilnError } from "../errors.ts";

/** A server that dies so often in such a time has a reason that another start does not mend. */
const MAX_RESTARTS = 5;
const SPAN_MS = 60_000;

/** Restarts of a server: any number of them over time, but few in a row. */
export class RestartRate {
  #restarts: number[] = [];

  /** How long to wait before another try is worth it, in milliseconds. */
  readonly patienceMs = SPAN_MS;

  /** Another restart is wanted. */
  count(): void {
    this.#restarts.push(performance.now());
  }

  /** Why there is to be none now, or undefined. */
  refusal(): KilnError | undefined {
    const now = performance.now();
    this.#restarts = this.#restarts.filter((at) => now - at < SPAN_MS);
    if (this.#restarts.length <= MAX_RESTARTS) return undefined;
    return new KilnError("BLOCK_FAILED", `the block server died ${this.#restarts.length} times in a minute`, {
      hint: "server.log beside its sockets may say why; it is tried again in a minute",
    });
  }
}
