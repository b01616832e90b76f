import { malformed } from "./malformed.ts";

/** Size of a page of an x86 guest, in bytes. */
export const PAGE_BYTES = 4096;

/** A machine has a handful: main memory, firmware, tables. */
const MAX_BLOCKS = 64;

/** One piece of the machine's memory, as the stream announces it. */
export interface RamBlock {
  name: string;
  bytes: number;
}

/** The blocks of a machine, by the names that the stream gives them. */
export class RamBlocks {
  readonly #byName = new Map<string, RamBlock>();
  readonly #main: { name: string; bytes: number };

  /** @param main name and size of the block that belongs into the memory file. */
  constructor(main: { name: string; bytes: number }) {
    this.#main = main;
  }

  add(name: string, bytes: number): void {
    if (bytes === 0 || bytes % PAGE_BYTES !== 0) throw malformed(`block "${name}" has ${bytes} bytes`);
    if (this.#byName.has(name)) throw malformed(`block "${name}" comes twice`);
    if (this.#byName.size >= MAX_BLOCKS) throw malformed("it has too many blocks");
    if (name === this.#main.name && bytes !== this.#main.bytes) {
      throw malformed(`the guest's memory has ${bytes} bytes in it, and ${this.#main.bytes} outside`);
    }
    this.#byName.set(name, { name, bytes });
  }

  get(name: string): RamBlock {
    const block = this.#byName.get(name);
    if (!block) throw malformed(`block "${name}" was not announced`);
    return block;
  }

  isMain(block: RamBlock): boolean {
    return block.name === this.#main.name;
  }

  checkComplete(): void {
    if (!this.#byName.has(this.#main.name)) throw malformed(`block "${this.#main.name}" is not in it`);
  }
}
