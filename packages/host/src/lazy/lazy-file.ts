import { closeSync, openSync, readFileSync, readSync, statSync, writeSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { KilnError, systemErrorCode } from "../errors.ts";

/** Beside a file that has not arrived as a whole: which parts of it have. */
export const LAZY_SUFFIX = ".lazy";

const MAGIC = "KILNLAZY";
const VERSION = 1;
const HEADER_SIZE = 4096;
const MAX_HOME = 1024;
const MAX_PARTS = 1 << 21;
const PART_SIZE = 8;

/** A stretch of a file that arrives at once, in blocks of 4096 bytes; what is in no part is zero and there. */
export interface Part {
  block: number;
  blocks: number;
}

/** What is written when a file is made that is to arrive later. */
export interface LazyHeader {
  /** KILN_HOME, relative to the file's folder: there the fetcher is. */
  home: string;
  /** Address of its image manifest. */
  image: string;
  parts: readonly Part[];
}

/** Whether `path` has not arrived as a whole. */
export function isLazy(path: string): boolean {
  return statSync(path + LAZY_SUFFIX, { throwIfNoEntry: false }) !== undefined;
}

/** The boot of the host that this is: what was written without being forced to the disk did not outlive an earlier one. */
function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

/**
 * Content of `<file>.lazy`; numbers are little-endian.
 *
 *     ┌──────────┬─────────┬───────┬─────────┬───────┬─────────────┬──────┐ ┌───────┬────────┐ ┌─────────┐
 *     │ KILNLAZY │ version │ parts │ boot id │ image │ home length │ home │ │ block │ blocks │…│ present │…
 *     └──────────┴─────────┴───────┴─────────┴───────┴─────────────┴──────┘ └───────┴────────┘ └─────────┘
 *     0          8         12      16        52      116           118 4096 0       4        8 a byte a part
 */
export function encodeLazyFile({ home, image, parts }: LazyHeader): Buffer {
  const homeBytes = Buffer.from(home);
  if (homeBytes.length > MAX_HOME || parts.length > MAX_PARTS)
    throw new KilnError("TOO_LARGE", "too many parts of a file");
  const bytes = Buffer.alloc(HEADER_SIZE + parts.length * (PART_SIZE + 1));
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(parts.length, 12);
  bytes.write(bootId(), 16, 36, "latin1");
  bytes.write(image, 52, 64, "latin1");
  bytes.writeUInt16LE(homeBytes.length, 116);
  homeBytes.copy(bytes, 118);
  let at = HEADER_SIZE;
  for (const { block, blocks } of parts) {
    bytes.writeUInt32LE(block, at);
    bytes.writeUInt32LE(blocks, at + 4);
    at += PART_SIZE;
  }
  return bytes;
}

/** Which parts of a file have arrived. One process, the fetcher, opens it `writable`; any number read it. */
export class LazyFile implements Disposable {
  /** The file that it is about. */
  readonly path: string;
  readonly image: string;
  /** KILN_HOME. */
  readonly home: string;
  readonly count: number;
  readonly #fd: number;
  readonly #table: Uint32Array;
  readonly #present: Buffer;
  readonly #presentAt: number;
  /** What was noted during another boot of the host does not count; the fetcher notes anew. */
  #ofThisBoot = true;

  private constructor(path: string, fd: number, header: Buffer, table: Uint32Array, present: Buffer) {
    this.path = path;
    this.#fd = fd;
    this.count = present.length;
    this.image = header.toString("latin1", 52, 116);
    this.home = resolve(
      dirname(path),
      header.toString("utf8", 118, 118 + Math.min(MAX_HOME, header.readUInt16LE(116))),
    );
    this.#table = table;
    this.#present = present;
    this.#presentAt = HEADER_SIZE + present.length * PART_SIZE;
  }

  /**
   * Opens what is beside the file `path`, or gives undefined when that has arrived. `writable`: what an earlier boot of the host
   * has noted is forgotten, as the data need not have reached the disk.
   * @throws KilnError `IMAGE_INVALID` when it is damaged.
   */
  static open(path: string, { writable = false } = {}): LazyFile | undefined {
    let fd: number;
    try {
      fd = openSync(path + LAZY_SUFFIX, writable ? "r+" : "r");
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return undefined;
      throw error;
    }
    try {
      const damaged = new KilnError("IMAGE_INVALID", `${path}${LAZY_SUFFIX}: is damaged`, {
        hint: "remove the template and pull it again",
      });
      const header = Buffer.alloc(HEADER_SIZE);
      if (readSync(fd, header, 0, HEADER_SIZE, 0) < HEADER_SIZE || header.toString("latin1", 0, 8) !== MAGIC)
        throw damaged;
      const count = header.readUInt32LE(12);
      if (header.readUInt32LE(8) !== VERSION || count > MAX_PARTS) throw damaged;
      const table = new Uint32Array(count * 2);
      const present = Buffer.alloc(count);
      const tableBytes = new Uint8Array(table.buffer);
      if (readSync(fd, tableBytes, 0, tableBytes.length, HEADER_SIZE) < tableBytes.length) throw damaged;
      const file = new LazyFile(path, fd, header, table, present);
      if (header.toString("latin1", 16, 52) === bootId()) {
        if (readSync(fd, present, 0, count, file.#presentAt) < count) throw damaged;
      } else if (writable) {
        writeSync(fd, present, 0, count, file.#presentAt);
        writeSync(fd, bootId(), 16, "latin1");
      } else file.#ofThisBoot = false;
      return file;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  has(part: number): boolean {
    return this.#present[part] === 1;
  }

  part(part: number): Part {
    return { block: this.#table[part * 2] ?? 0, blocks: this.#table[part * 2 + 1] ?? 0 };
  }

  /** Notes that a part's data is in the file. */
  add(part: number): void {
    this.#present[part] = 1;
    writeSync(this.#fd, this.#present, part, 1, this.#presentAt + part);
  }

  /** The parts that lie in a range of blocks, as the first and the one behind the last. */
  partsIn(block: number, endBlock: number): { first: number; end: number } {
    const first = this.#firstEndingBehind(block);
    let end = first;
    while (end < this.count && (this.#table[end * 2] ?? 0) < endBlock) end++;
    return { first, end };
  }

  /** Whether all of a range of blocks has arrived, as far as is known without asking. */
  covers(block: number, endBlock: number): boolean {
    for (let part = this.#firstEndingBehind(block); part < this.count; part++) {
      if ((this.#table[part * 2] ?? 0) >= endBlock) return true;
      if (this.#present[part] !== 1) return false;
    }
    return true;
  }

  /** Reads again which of some parts have arrived. @returns whether all have. */
  refresh(first: number, end: number): boolean {
    if (!this.#ofThisBoot) {
      const noted = Buffer.alloc(36);
      readSync(this.#fd, noted, 0, 36, 16);
      if (noted.toString("latin1") !== bootId()) return false;
      this.#ofThisBoot = true;
    }
    if (end > first) readSync(this.#fd, this.#present, first, end - first, this.#presentAt + first);
    for (let part = first; part < end; part++) if (this.#present[part] !== 1) return false;
    return true;
  }

  missing(): number {
    let missing = 0;
    for (const byte of this.#present) if (byte !== 1) missing++;
    return missing;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #firstEndingBehind(block: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const end = (this.#table[middle * 2] ?? 0) + (this.#table[middle * 2 + 1] ?? 0);
      if (end <= block) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
