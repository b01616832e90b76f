import type { CompressJob } from "./chunk-jobs.ts";

/** A batch is full with so many bytes: some milliseconds of a thread's time. */
const FULL_BYTES = 1024 * 1024;

/** Chunks that become one job, each with whom it belongs to. Its memory is shared with the threads, and used again and again. */
export class ChunkBatch<T> {
  #owners: T[] = [];
  #lengths: number[] = [];
  #used = 0;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #target: Uint8Array<SharedArrayBuffer>;

  /** @param longest chunk, in bytes. */
  constructor(longest: number) {
    this.#bytes = new Uint8Array(new SharedArrayBuffer(FULL_BYTES + longest));
    this.#target = new Uint8Array(new SharedArrayBuffer(FULL_BYTES + longest));
  }

  get isFull(): boolean {
    return this.#used >= FULL_BYTES;
  }

  get isEmpty(): boolean {
    return this.#used === 0;
  }

  get owners(): readonly T[] {
    return this.#owners;
  }

  add(owner: T, content: Uint8Array): void {
    this.#bytes.set(content, this.#used);
    this.#used += content.length;
    this.#lengths.push(content.length);
    this.#owners.push(owner);
  }

  job(): CompressJob {
    return { kind: "compress", bytes: this.#bytes, lengths: this.#lengths, target: this.#target };
  }

  /** What the job made of the chunks, until the batch is cleared. */
  get target(): Uint8Array {
    return this.#target;
  }

  clear(): void {
    this.#owners = [];
    this.#lengths = [];
    this.#used = 0;
  }
}
