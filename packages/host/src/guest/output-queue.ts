/** One of a process's outputs. */
export type OutputChannel = "stdout" | "stderr";

/** A piece of a kept process's output. */
export interface OutputPiece {
  channel: OutputChannel;
  /** Of the first byte, counted from the output's beginning. */
  offset: number;
  /** May be empty when there is nothing but a gap to tell. */
  bytes: Buffer;
  /** Bytes missing before this piece: they were dropped before they could be read. */
  missing: number;
}

/**
 * A kept process's output on its way to whoever reads it here, in the order it came. `onTaken` learns of a piece when its
 * reader comes back for the next, `onGiven` when it gets it.
 */
export class OutputQueue<P extends OutputPiece> {
  #pieces: P[] = [];
  readonly #onGiven: (piece: P) => void;
  readonly #onTaken: (piece: P) => void;
  #end: { error?: unknown } | undefined;
  #news = Promise.withResolvers<void>();

  constructor(onGiven: (piece: P) => void, onTaken: (piece: P) => void) {
    this.#onGiven = onGiven;
    this.#onTaken = onTaken;
  }

  /** The piece of `channel` that came last and that nobody has taken yet. */
  last(channel: OutputChannel): P | undefined {
    return this.#pieces.findLast((piece) => piece.channel === channel);
  }

  push(piece: P): void {
    if (this.#end) return;
    this.#pieces.push(piece);
    this.#tell();
  }

  /** Forgets what nobody has taken. */
  clear(): void {
    this.#pieces = [];
  }

  /** Nothing follows. With `error`, reading ends by throwing it once the pieces are taken. */
  end(error?: unknown): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#tell();
  }

  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }

  /** The pieces of one channel, or of both in the order they came. */
  async *read(channel?: OutputChannel): AsyncGenerator<P, void, undefined> {
    while (true) {
      const at = this.#pieces.findIndex((piece) => channel === undefined || piece.channel === channel);
      const [piece] = at < 0 ? [] : this.#pieces.splice(at, 1);
      if (piece) {
        this.#onGiven(piece);
        yield piece;
        this.#onTaken(piece);
      } else if (this.#end) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else {
        await this.#news.promise;
      }
    }
  }
}
