import { Duplex } from "node:stream";

/** A byte stream whose other end is the test: `sent` is what was written to it, `receive` what it gets to read. */
export class TestWire extends Duplex {
  sent: Buffer[] = [];
  onSent: (() => void) | undefined;
  /** Whether what is written is kept. */
  readonly #keep: boolean;

  constructor({ keep = true } = {}) {
    super();
    this.#keep = keep;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#keep) this.sent.push(chunk);
    this.onSent?.();
    done();
  }

  override _read(): void {}

  receive(bytes: Buffer): void {
    this.push(bytes);
  }
}
