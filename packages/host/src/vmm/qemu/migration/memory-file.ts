import { type FileHandle, open } from "node:fs/promises";
import { PAGE_BYTES } from "./ram-block.ts";
import type { PageSink } from "./split.ts";

/** Pages that are written with one call. */
const MAX_RUN_PAGES = 256;
/** Bytes that may wait for being written before the sender has to wait. */
const MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024;

/** Guest memory as a sparse file: pages in their places, and holes for those of zeros. */
export class MemoryFile implements PageSink, AsyncDisposable {
  readonly #file: FileHandle;
  /** One bit a page: it was given before, and zeros in its place are no longer a hole. */
  readonly #written: Uint8Array;
  #run: Buffer[] = [];
  #runOffset = 0;
  #chain = Promise.resolve();
  #unwritten = 0;
  #failure: unknown;

  private constructor(file: FileHandle, bytes: number) {
    this.#file = file;
    this.#written = new Uint8Array(Math.ceil(bytes / PAGE_BYTES / 8));
  }

  /** Makes the file, all hole. @throws when it exists. */
  static async create(path: string, bytes: number): Promise<MemoryFile> {
    const file = await open(path, "wx", 0o600);
    try {
      await file.truncate(bytes);
      return new MemoryFile(file, bytes);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  page(offset: number, data: Buffer): void {
    const index = offset / PAGE_BYTES;
    this.#written[index >> 3] = (this.#written[index >> 3] ?? 0) | (1 << (index & 7));
    const follows = offset === this.#runOffset + this.#run.length * PAGE_BYTES;
    if (!follows || this.#run.length >= MAX_RUN_PAGES) {
      this.#startWriting();
      this.#runOffset = offset;
    }
    this.#run.push(data);
  }

  zeroPage(offset: number): void {
    const index = offset / PAGE_BYTES;
    const wasWritten = ((this.#written[index >> 3] ?? 0) >> (index & 7)) & 1;
    if (wasWritten) this.page(offset, Buffer.alloc(PAGE_BYTES));
  }

  /** Resolves when there is room for more. @throws what writing failed with. */
  async drain(): Promise<void> {
    if (this.#unwritten > MAX_UNWRITTEN_BYTES) await this.#chain;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Resolves when everything is written, and on stable storage. */
  async finish(): Promise<void> {
    this.#startWriting();
    await this.#chain;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#file.datasync();
  }

  /** One write after the other: a page that comes twice has to be the later one in the end. */
  #startWriting(): void {
    if (this.#run.length === 0) return;
    const [pages, offset] = [this.#run, this.#runOffset];
    const bytes = pages.length * PAGE_BYTES;
    this.#run = [];
    this.#unwritten += bytes;
    this.#chain = this.#chain.then(async () => {
      try {
        if (this.#failure === undefined) await writeAll(this.#file, pages, offset);
      } catch (error) {
        this.#failure = error;
      } finally {
        this.#unwritten -= bytes;
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chain;
    await this.#file.close();
  }
}

async function writeAll(file: FileHandle, pages: Buffer[], offset: number): Promise<void> {
  const wanted = pages.length * PAGE_BYTES;
  const { bytesWritten } = await file.writev(pages, offset);
  if (bytesWritten === wanted) return;
  // A disk that fills up takes a part first and gives its error then.
  const rest = Buffer.concat(pages).subarray(bytesWritten);
  for (let done = 0; done < rest.length; ) {
    done += (await file.write(rest, done, rest.length - done, offset + bytesWritten + done)).bytesWritten;
  }
}
