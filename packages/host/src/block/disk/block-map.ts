import { ABSENT, BLOCK_SIZE } from "./geometry.ts";
import { writeWhole } from "./whole-io.ts";

/**
 * Which blocks a diff holds: two bits a block (`ABSENT`, `DATA`, `ZERO`), block n in bits 2·(n mod 4) of byte n div 4.
 * The memory image and the file agree after every `set`, so a killed process loses nothing.
 */
export class BlockMap {
  readonly bytes: Uint8Array;
  readonly #fd: number;
  readonly #fileOffset: number;

  /** `fd` holds the map from byte `fileOffset` on; `bytes` is what stands there now. */
  constructor(fd: number, fileOffset: number, bytes: Uint8Array) {
    this.#fd = fd;
    this.#fileOffset = fileOffset;
    this.bytes = bytes;
  }

  /** Bytes of map for a device of `sizeBytes`, a multiple of 8 so that it can be looked through in words. */
  static byteLength(sizeBytes: number): number {
    return Math.ceil(sizeBytes / BLOCK_SIZE / 32) * 8;
  }

  /** Whether all states are known ones. */
  static isValid(bytes: Uint8Array): boolean {
    for (const word of words(bytes)) if ((word & (word >>> 1) & 0x55555555) !== 0) return false;
    return true;
  }

  get(block: number): number {
    return ((this.bytes[block >> 2] ?? 0) >> ((block & 3) << 1)) & 3;
  }

  /** End of the run of blocks in the same state that `block` is in, `limit` at most. Four blocks cost one step. */
  runEnd(block: number, limit: number): number {
    const state = this.get(block);
    const four = state * 0b01010101;
    let end = block + 1;
    while (end < limit) {
      if ((end & 3) === 0 && this.bytes[end >> 2] === four) end += 4;
      else if (this.get(end) === state) end++;
      else return end;
    }
    return limit;
  }

  /** Gives `count` blocks from `first` on one state, in memory and in the file. @throws a Node.js system error; memory is then unchanged. */
  set(first: number, count: number, state: number): void {
    let from = first;
    let to = first + count;
    while (from < to && this.get(from) === state) from++;
    while (to > from && this.get(to - 1) === state) to--;
    if (from === to) return;
    const start = from >> 2;
    const end = ((to - 1) >> 2) + 1;
    const before = end - start === 1 ? (this.bytes[start] ?? 0) : this.bytes.slice(start, end);
    this.#paint(from, to, state);
    try {
      writeWhole(this.#fd, this.bytes, start, end - start, this.#fileOffset + start);
    } catch (error) {
      if (typeof before === "number") this.bytes[start] = before;
      else this.bytes.set(before, start);
      throw error;
    }
  }

  /** How many blocks are in each state, by state. */
  counts(): [absent: number, data: number, zero: number] {
    let data = 0;
    let zero = 0;
    for (const word of words(this.bytes)) {
      if (word === 0) continue;
      data += ones(word & 0x55555555);
      zero += ones(word & 0xaaaaaaaa);
    }
    return [this.bytes.length * 4 - data - zero, data, zero];
  }

  #paint(from: number, to: number, state: number): void {
    let block = from;
    while (block < to && (block & 3) !== 0) this.#put(block++, state);
    const whole = state * 0b01010101;
    const wholeEnd = to & ~3;
    if (block < wholeEnd) {
      this.bytes.fill(whole, block >> 2, wholeEnd >> 2);
      block = wholeEnd;
    }
    while (block < to) this.#put(block++, state);
  }

  #put(block: number, state: number): void {
    const index = block >> 2;
    const shift = (block & 3) << 1;
    this.bytes[index] = ((this.bytes[index] ?? 0) & ~(3 << shift)) | (state << shift);
  }
}

/** Calls `visit` for every block that is not `ABSENT`, in order. Empty stretches cost one step for 16 blocks. */
export function forEachPresent(bytes: Uint8Array, visit: (block: number, state: number) => void): void {
  const all = words(bytes);
  for (let index = 0; index < all.length; index++) {
    let word = all[index] ?? 0;
    for (let block = index * 16; word !== 0; block++, word >>>= 2) {
      const state = word & 3;
      if (state !== ABSENT) visit(block, state);
    }
  }
}

/** The map as words of 16 blocks; its length is a multiple of eight bytes. */
function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}

function ones(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
