import { stat } from "node:fs/promises";
import { BLOCK } from "../format/limits.ts";
import type { FuseServer } from "./fuse/fuse-server.ts";
import type { LazyImage } from "./lazy-image.ts";

/** Zeros that are shown along with a page of zeros that is touched, in bytes: who touches one takes the next ones soon. */
const ZEROS = Buffer.alloc(256 * 1024);

/**
 * A file that is arriving, as VMs can map it. A page that is touched costs a question of the kernel's and an answer, so whatever is here
 * and likely to be touched is put into the page cache unasked: the rest of the part around a touched page, zeros behind it, and the parts
 * that were fetched along a trace.
 */
export class ShownImage {
  readonly path: string;
  readonly #image: LazyImage;
  readonly #fuse: FuseServer;
  readonly #node: number;
  readonly #shown: Uint8Array;

  private constructor(
    image: LazyImage,
    fuse: FuseServer,
    fetch: (first: number, end: number) => Promise<void>,
  ) {
    this.#image = image;
    this.#fuse = fuse;
    this.#shown = new Uint8Array(image.wants.length);
    const { node, path } = fuse.add({
      sizeBytes: image.sizeBytes,
      read: async (offset, length) => {
        const { first, end } = image.partsIn(offset, length);
        await fetch(first, end);
        const bytes = await image.read(offset, length);
        // After the answer: the kernel holds the pages it asked for until then.
        setImmediate(() => this.#showAround(first, end, offset + length));
        return bytes;
      },
    });
    this.#node = node;
    this.path = path;
  }

  /** @param fetch resolves when the parts `first` to `end` are here. */
  static async open(
    image: LazyImage,
    fuse: FuseServer,
    fetch: (first: number, end: number) => Promise<void>,
  ): Promise<ShownImage> {
    const shown = new ShownImage(image, fuse, fetch);
    await stat(shown.path); // The kernel takes pages only of files that it knows.
    image.onWanted = (part, content) => shown.#show(part, content);
    for (const part of image.ahead) if (image.has(part)) await shown.#showPart(part);
    return shown;
  }

  #showAround(first: number, end: number, offset: number): void {
    for (let part = first; part < end; part++) void this.#showPart(part).catch(() => undefined);
    if (end > first) return;
    const next = this.#image.manifest.chunks[first];
    const hole = (next === undefined ? this.#image.sizeBytes : next.block * BLOCK) - offset;
    const length = Math.floor(Math.min(hole, ZEROS.length) / BLOCK) * BLOCK;
    if (length > 0) this.#fuse.store(this.#node, offset, ZEROS.subarray(0, length));
  }

  async #showPart(part: number): Promise<void> {
    if (this.#shown[part]) return;
    const offset = this.#image.chunk(part).block * BLOCK;
    this.#show(part, await this.#image.read(offset, this.#image.contentLength(part)));
  }

  #show(part: number, content: Uint8Array): void {
    if (this.#shown[part]) return;
    this.#shown[part] = 1;
    this.#fuse.store(this.#node, this.#image.chunk(part).block * BLOCK, content);
  }
}
