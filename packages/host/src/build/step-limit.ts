/** A time limit that begins anew with every step of a build. */
export class StepLimit implements Disposable {
  readonly #limitMs: number | undefined;
  readonly #over = new AbortController();
  readonly #other: AbortSignal | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Fires when a step has taken too long, or `other` fires. */
  readonly signal: AbortSignal;

  /** @param limitMs how long one step may take, in milliseconds; undefined for no limit */
  constructor(limitMs: number | undefined, other: AbortSignal | undefined) {
    this.#limitMs = limitMs;
    this.#other = other;
    this.signal = other ? AbortSignal.any([other, this.#over.signal]) : this.#over.signal;
    this.restart();
  }

  /** Another step begins. */
  restart(): void {
    clearTimeout(this.#timer);
    if (this.#limitMs !== undefined) this.#timer = setTimeout(() => this.#over.abort(), this.#limitMs);
  }

  /** Whether it is this limit that has ended the step. */
  get isOver(): boolean {
    return this.#over.signal.aborted && this.#other?.aborted !== true;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
