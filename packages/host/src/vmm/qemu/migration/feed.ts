/**
 * A parser of a stream as a generator: it yields how many bytes it needs next and is given exactly those. What it is given may be a
 * view of a larger buffer: it must not be changed.
 */
export type Parser = Generator<number, void, Buffer>;

const EMPTY = Buffer.alloc(0);

/** Feeds a parser with chunks as they come, however they are cut. */
export class Feed {
  readonly #parser: Parser;
  #need: number;
  #rest: Buffer = EMPTY;
  #done = false;

  constructor(parser: Parser) {
    this.#parser = parser;
    this.#need = 0;
    this.#advance(parser.next());
  }

  /** Whether the parser has had all it wanted. */
  get done(): boolean {
    return this.#done;
  }

  /** Gives the parser more; returns what comes after its end. @throws whatever the parser throws. */
  push(chunk: Buffer): Buffer {
    let at = 0;
    if (this.#rest.length > 0 && !this.#done) {
      at = Math.min(this.#need - this.#rest.length, chunk.length);
      const piece = Buffer.concat([this.#rest, chunk.subarray(0, at)]);
      if (piece.length < this.#need) {
        this.#rest = piece;
        return EMPTY;
      }
      this.#rest = EMPTY;
      this.#advance(this.#parser.next(piece));
    }
    while (!this.#done && chunk.length - at >= this.#need) {
      const end = at + this.#need;
      this.#advance(this.#parser.next(chunk.subarray(at, end)));
      at = end;
    }
    if (this.#done) return chunk.subarray(at);
    // A copy: a view would keep a whole chunk for the sake of a few bytes.
    this.#rest = Buffer.from(chunk.subarray(at));
    return EMPTY;
  }

  #advance(step: IteratorResult<number, void>): void {
    if (step.done) this.#done = true;
    else this.#need = step.value;
  }
}
