/** Sums 16-bit words in ones' complement (RFC 1071): any number of parts, each of even length but the last. */
export class Checksum {
  #sum = 0;

  word(value: number): this {
    this.#sum += value;
    return this;
  }

  address(value: number): this {
    this.#sum += (value >>> 16) + (value & 0xffff);
    return this;
  }

  bytes(buffer: Uint8Array, start: number, end: number): this {
    let sum = 0;
    let index = start;
    // Four words a round: it is most of what sending a byte costs.
    for (const last = end - 8; index <= last; index += 8) {
      sum +=
        ((at(buffer, index) + at(buffer, index + 2) + at(buffer, index + 4) + at(buffer, index + 6)) << 8) +
        at(buffer, index + 1) +
        at(buffer, index + 3) +
        at(buffer, index + 5) +
        at(buffer, index + 7);
    }
    for (; index < end; index++) sum += (index - start) & 1 ? at(buffer, index) : at(buffer, index) << 8;
    this.#sum += sum;
    return this;
  }

  /** The value to write. */
  get value(): number {
    let sum = this.#sum;
    while (sum > 0xffff) sum = Math.floor(sum / 0x10000) + (sum % 0x10000);
    return ~sum & 0xffff;
  }
}

const at = (buffer: Uint8Array, index: number): number => buffer[index] as number;
