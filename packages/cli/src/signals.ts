const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const;
/** So many SIGINT in a row mean it. */
const IMPATIENCE = 3;

/**
 * What signals mean to a command that first prepares and then runs something. Until `forwardTo` is called SIGINT,
 * SIGTERM and SIGHUP cancel; from then on signals go to what runs, and the third SIGINT cancels.
 */
export class Signals {
  readonly #abort = new AbortController();
  #forward: ((signal: NodeJS.Signals) => void) | undefined;
  #interrupts = 0;

  constructor() {
    for (const name of FORWARDED) process.on(name, (signal) => this.#receive(signal));
  }

  /** Fires when the work is to be cancelled. */
  get cancelled(): AbortSignal {
    return this.#abort.signal;
  }

  forwardTo(forward: (signal: NodeJS.Signals) => void): void {
    this.#forward = forward;
  }

  #receive(signal: NodeJS.Signals): void {
    if (signal === "SIGINT") this.#interrupts += 1;
    if (this.#forward && this.#interrupts < IMPATIENCE) this.#forward(signal);
    else if (this.#forward || signal !== "SIGUSR2") this.#abort.abort();
  }
}
