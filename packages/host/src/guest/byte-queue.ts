/**
 * Bytes on their way from the guest to whoever reads them here. One reader; `onConsumed` learns how many
 * bytes were taken, which is what the guest is given new credit for.
 */
export class ByteQueue implements AsyncIterable<Buffer> {
  readonly #chunks: Buffer[] = [];
  readonly #onConsumed: (bytes: number) => void;
  #end: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(onConsumed: (bytes: number) => void) {
    this.#onConsumed = onConsumed;
  }

  push(chunk: Buffer): void {
    if (this.#end) return;
    this.#chunks.push(chunk);
    this.#wake?.();
  }

  /** Nothing follows. With `error`, reading ends by throwing it once the chunks are taken. */
  end(error?: unknown): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#wake?.();
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk) {
        yield chunk;
        // Only now: the reader came back for more, so it is done with the last one.
        this.#onConsumed(chunk.length);
      } else if (this.#end) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
