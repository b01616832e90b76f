const FIRST_BYTES = 16 * 1024;

/** Bytes in the order they came: appended at the end, dropped from the beginning, read anywhere. Grows up to its limit. */
export class Ring {
  readonly #limit: number;
  #bytes: Buffer | undefined;
  #start = 0;
  #length = 0;

  /** `limit`: a power of two, at least 16 KiB. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#length;
  }

  /** Memory it takes. */
  get capacity(): number {
    return this.#bytes?.length ?? 0;
  }

  /** Appends as much as there is room for, and returns how much that was. */
  append(chunk: Buffer): number {
    const wanted = Math.min(this.#length + chunk.length, this.#limit);
    const bytes = this.#atLeast(wanted);
    const count = wanted - this.#length;
    const at = (this.#start + this.#length) & (bytes.length - 1);
    const first = Math.min(count, bytes.length - at);
    chunk.copy(bytes, at, 0, first);
    chunk.copy(bytes, 0, first, count);
    this.#length = wanted;
    return count;
  }

  /** Copies `count` bytes from `offset` on, all of which are there, to `target` at `at`. */
  copy(offset: number, count: number, target: Buffer, at: number): void {
    const bytes = this.#bytes;
    if (bytes === undefined) return;
    const from = (this.#start + offset) & (bytes.length - 1);
    const first = Math.min(count, bytes.length - from);
    bytes.copy(target, at, from, from + first);
    bytes.copy(target, at + first, 0, count - first);
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    this.#start = (this.#start + count) & (this.capacity - 1);
    this.#length -= count;
  }

  /** Gives its memory back. */
  release(): void {
    this.#bytes = undefined;
    this.#start = 0;
    this.#length = 0;
  }

  #atLeast(size: number): Buffer {
    const old = this.#bytes;
    if (old !== undefined && old.length >= size) return old;
    let capacity = old?.length ?? FIRST_BYTES;
    while (capacity < size) capacity *= 2;
    const grown = Buffer.allocUnsafeSlow(capacity);
    this.copy(0, this.#length, grown, 0);
    this.#start = 0;
    this.#bytes = grown;
    return grown;
  }
}
