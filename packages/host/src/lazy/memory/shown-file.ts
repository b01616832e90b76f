import { fstatSync, openSync, read, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { KilnError } from "../../errors.ts";
import type { FetchClient } from "../fetch-client.ts";
import { LazyFile } from "../lazy-file.ts";
import type { FuseServer } from "./fuse/fuse-server.ts";

const readFile = promisify(read);

/** Size of the blocks that parts are counted in, in bytes; a page. */
const BLOCK = 4096;
/** Zeros that are shown along with a page of zeros that is touched, in bytes: who touches one takes the next ones soon. */
const ZEROS = Buffer.alloc(256 * 1024);
/** Between questions after the fetcher could not answer one, in milliseconds. */
const ASK_AGAIN_MS = 1_000;

/**
 * A file that is arriving, as VMs can map it. A page that is touched costs a question of the kernel's and an answer, so whatever is here
 * and likely to be touched is put into the page cache unasked: the rest of the part around a touched page, zeros behind it, and the parts
 * that the fetcher tells of.
 */
export class ShownFile {
  readonly path: string;
  readonly #fd: number;
  readonly #lazy: LazyFile;
  readonly #sizeBytes: number;
  readonly #fuse: FuseServer;
  readonly #fetcher: FetchClient;
  readonly #node: number;
  readonly #shown: Uint8Array;
  #following = false;

  private constructor(lazy: LazyFile, fuse: FuseServer, fetcher: FetchClient) {
    this.#lazy = lazy;
    this.#fd = openSync(lazy.path, "r");
    this.#sizeBytes = fstatSync(this.#fd).size;
    this.#fuse = fuse;
    this.#fetcher = fetcher;
    this.#shown = new Uint8Array(lazy.count);
    const { node, path } = fuse.add({
      sizeBytes: this.#sizeBytes,
      read: (offset, length) => this.#answer(offset, length),
      // The kernel takes pages only of files that it knows.
      onKnown: () => void this.#follow(),
    });
    this.#node = node;
    this.path = path;
  }

  /** The file at `path`, or undefined when it has arrived. Both stay open as long as this process lives. @throws KilnError `IMAGE_INVALID`. */
  static open(path: string, fuse: FuseServer, fetcher: FetchClient): ShownFile | undefined {
    const lazy = LazyFile.open(path);
    return lazy && new ShownFile(lazy, fuse, fetcher);
  }

  /** Whether the file at its path is still this one. */
  get isCurrent(): boolean {
    return statSync(this.#lazy.path, { throwIfNoEntry: false })?.ino === fstatSync(this.#fd).ino;
  }

  async #answer(offset: number, length: number): Promise<Buffer> {
    const end = Math.min(offset + length, this.#sizeBytes);
    const parts = this.#lazy.partsIn(Math.floor(offset / BLOCK), Math.ceil(end / BLOCK));
    if (!this.#lazy.refresh(parts.first, parts.end)) {
      await this.#fetcher.fetch(this.#lazy.path, parts.first, parts.end);
      // Never zeros for what is not there.
      if (!this.#lazy.refresh(parts.first, parts.end))
        throw new KilnError("STORE_UNAVAILABLE", `${this.#lazy.path}: a part of it could not be fetched`);
    }
    const bytes = await this.#read(offset, Math.max(0, end - offset));
    // After the answer: the kernel holds the pages it asked for until then.
    setImmediate(() => this.#showAround(parts.first, parts.end, end));
    return bytes;
  }

  #showAround(first: number, end: number, offset: number): void {
    for (let part = first; part < end; part++) void this.#showPart(part).catch(() => undefined);
    if (end > first) return;
    const next = first < this.#lazy.count ? this.#lazy.part(first).block * BLOCK : this.#sizeBytes;
    const length = Math.floor(Math.min(next - offset, ZEROS.length) / BLOCK) * BLOCK;
    if (length > 0) this.#fuse.store(this.#node, offset, ZEROS.subarray(0, length));
  }

  async #showPart(part: number): Promise<void> {
    if (this.#shown[part]) return;
    this.#shown[part] = 1;
    const { block, blocks } = this.#lazy.part(part);
    const length = Math.min(blocks * BLOCK, this.#sizeBytes - block * BLOCK);
    this.#fuse.store(this.#node, block * BLOCK, await this.#read(block * BLOCK, length));
  }

  /** Shows what the fetcher says has come, until all of it has. */
  async #follow(): Promise<void> {
    if (this.#following) return;
    this.#following = true;
    for (let since = 0, whole = false; !whole; ) {
      try {
        const told = await this.#fetcher.arrivals(this.#lazy.path, since);
        for (const part of told.parts) if (this.#lazy.refresh(part, part + 1)) await this.#showPart(part);
        since = told.next;
        whole = told.whole;
      } catch {
        await delay(ASK_AGAIN_MS);
      }
    }
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await readFile(this.#fd, bytes, done, length - done, offset + done);
      if (bytesRead === 0) throw new KilnError("IMAGE_INVALID", `${this.#lazy.path}: was cut off`);
      done += bytesRead;
    }
    return bytes;
  }
}
