/** Most bytes taken from a socket at once. A Unix socket of default size holds about 200 KiB. */
const READ_SIZE = 256 * 1024;

/** Most bytes that wait unparsed while reading goes on: a request's header, or the part of a block. */
const LEFTOVER = 32 * 1024;

/**
 * The bytes a client has sent and nobody has taken yet, in one buffer that the kernel fills in place.
 *
 *     bytes  ┌───────────┬──────────────────┬───────────────────────────┐
 *            │  taken    │  waiting         │  free: the next read      │
 *            └───────────┴──────────────────┴───────────────────────────┘
 *                        start              end                 ≤ READ_SIZE
 */
export class Input {
  readonly bytes = Buffer.allocUnsafeSlow(2 * READ_SIZE + LEFTOVER);
  start = 0;
  end = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Where the next read goes. Moves what waits to the front; only called when a read has just been taken in. */
  target(): Buffer {
    if (this.start > 0) {
      if (this.start < this.end) this.bytes.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    }
    return this.bytes.subarray(this.end, this.end + READ_SIZE);
  }
}
