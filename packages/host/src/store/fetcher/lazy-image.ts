import { closeSync, fdatasync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { promisify } from "node:util";
import { KilnError } from "../../errors.ts";
import { LAZY_SUFFIX, LazyFile } from "../../lazy/lazy-file.ts";
import { checkDigest } from "../format/digest.ts";
import {
  type Chunk,
  contentLength,
  decodeImageManifest,
  type ImageManifest,
} from "../format/image-manifest.ts";
import { BLOCK } from "../format/limits.ts";
import { writeAll } from "../write-all.ts";

/** Beside a lazy file: its image manifest, as the store has it. */
export const MANIFEST_SUFFIX = ".manifest";

const sync = promisify(fdatasync);

/** How much somebody wants a part. What is wanted more is fetched first. */
export const Want = { none: 0, background: 1, ahead: 2, now: 3, coming: 4 } as const;
export type Want = (typeof Want)[keyof typeof Want];

interface Waiting {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** A file that is arriving. Part n of the file is chunk n of its image. */
export class LazyImage {
  readonly path: string;
  readonly image: string;
  readonly manifest: ImageManifest;
  /** Of each part, a `Want`. */
  readonly wants: Uint8Array;
  /** Parts in the order in which guests asked for them. */
  readonly touched: number[] = [];
  /** Parts that somebody wants, or soon will, in the order in which they came. */
  readonly arrived: number[] = [];
  /** Why somebody could not have a part; null when the last that was waited for has come. */
  failure: string | null = null;
  readonly #seen: Uint8Array;
  readonly #lazy: LazyFile;
  readonly #fd: number;
  readonly #waiting = new Map<number, Waiting>();
  readonly #whole = Promise.withResolvers<void>();
  #arrival = Promise.withResolvers<void>();
  #missing: number;
  /** Where a look for the next missing part begins. */
  #cursor = 0;

  private constructor(path: string, lazy: LazyFile, manifest: ImageManifest) {
    this.path = path;
    this.image = lazy.image;
    this.manifest = manifest;
    this.#lazy = lazy;
    this.#fd = openSync(path, "r+");
    this.wants = new Uint8Array(manifest.chunks.length);
    this.#seen = new Uint8Array(manifest.chunks.length);
    this.#missing = lazy.missing();
    this.#whole.promise.catch(() => undefined);
    if (this.#missing === 0) void this.#finish();
  }

  #damage = newDamage();

  /** The file at `path`, or undefined when it has arrived. @throws KilnError when what describes it is damaged. */
  static open(path: string): LazyImage | undefined {
    const lazy = LazyFile.open(path, { writable: true });
    if (lazy === undefined) return undefined;
    try {
      const what = `image manifest ${lazy.image}`;
      const bytes = checkDigest(what, readFileSync(path + MANIFEST_SUFFIX), lazy.image);
      const manifest = decodeImageManifest(bytes, what);
      if (manifest.chunks.length !== lazy.count) {
        throw new KilnError("IMAGE_INVALID", `${path}${LAZY_SUFFIX}: is of another image`);
      }
      return new LazyImage(path, lazy, manifest);
    } catch (error) {
      lazy[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether the file at its path is still this one. */
  get isCurrent(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino === fstatSync(this.#fd).ino;
  }

  get sizeBytes(): number {
    return this.manifest.sizeBytes;
  }

  get missing(): number {
    return this.#missing;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves when all of it is there. */
  get whole(): Promise<void> {
    return this.#whole.promise;
  }

  has(part: number): boolean {
    return this.#lazy.has(part);
  }

  chunk(part: number): Chunk {
    const chunk = this.manifest.chunks[part];
    if (chunk === undefined) throw new KilnError("USAGE", `${this.path} has no part ${part}`);
    return chunk;
  }

  /** Whether somebody waits for the part. */
  isAwaited(part: number): boolean {
    return this.#waiting.has(part);
  }

  /** Resolves when the part is there, which somebody else has to see to. */
  wait(part: number): Promise<void> {
    let waiting = this.#waiting.get(part);
    if (waiting === undefined) {
      waiting = Promise.withResolvers<void>();
      waiting.promise.catch(() => undefined);
      this.#waiting.set(part, waiting);
    }
    return waiting.promise;
  }

  /** Notes that a guest wants the part: later starts are likely to as well. */
  touch(part: number): void {
    if (this.#seen[part]) return;
    this.#seen[part] = 1;
    this.touched.push(part);
  }

  /** Puts a part's content, which was checked, where it belongs. The data first: a part that is noted is there. */
  async put(part: number, content: Uint8Array, want: Want): Promise<void> {
    if (this.has(part)) return;
    await writeAll(this.#fd, content, this.chunk(part).block * BLOCK);
    if (this.has(part)) return;
    if (want >= Want.ahead) this.arrive(part);
    await this.note(part);
  }

  /** Tells who waits for `nextArrival` of a part that is here. */
  arrive(part: number): void {
    this.arrived.push(part);
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers<void>();
  }

  /** Resolves when another part has come that somebody wants, or all of them are there. */
  nextArrival(): Promise<void> {
    return Promise.race([this.#arrival.promise, this.whole]);
  }

  /** For those who write checked content where it belongs themselves. */
  get fd(): number {
    return this.#fd;
  }

  /** Notes that the content of a part is where it belongs. */
  async note(part: number): Promise<void> {
    if (this.has(part)) return;
    this.#lazy.add(part);
    this.wants[part] = Want.none;
    this.#missing--;
    if (this.#waiting.has(part)) this.failure = null;
    this.#waiting.get(part)?.resolve();
    this.#waiting.delete(part);
    if (this.#missing === 0) await this.#finish();
  }

  fail(part: number, error: unknown): void {
    this.wants[part] = Want.none;
    if (this.#waiting.has(part)) this.failure = error instanceof Error ? error.message : String(error);
    this.#waiting.get(part)?.reject(error);
    this.#waiting.delete(part);
  }

  /** The first part from where the last look ended that is missing and that nobody fetches. */
  nextMissing(): number | undefined {
    for (; this.#cursor < this.wants.length; this.#cursor++) {
      if (!this.has(this.#cursor) && this.wants[this.#cursor] !== Want.coming) return this.#cursor;
    }
    this.#cursor = 0;
    return undefined;
  }

  /** Makes the next look begin behind a part that is damaged in the store, and tells who waits for `damaged`. */
  skip(part: number, damage: KilnError): void {
    this.#cursor = part + 1;
    this.#damage.reject(damage);
    this.#damage = newDamage();
  }

  /** Rejects when a part turns out to be damaged in the store. Who asks after that waits for the next time. */
  get damaged(): Promise<never> {
    return this.#damage.promise;
  }

  contentLength(part: number): number {
    return contentLength(this.manifest, this.chunk(part));
  }

  /** Ends the bookkeeping of a file that is there as a whole: on stable storage first. The file stays open for those who map it. */
  async #finish(): Promise<void> {
    try {
      await sync(this.#fd);
      await rm(this.path + LAZY_SUFFIX, { force: true });
      await rm(this.path + MANIFEST_SUFFIX, { force: true });
      this.#whole.resolve();
    } catch (error) {
      this.#whole.reject(error);
    }
  }

  close(): void {
    this.#lazy[Symbol.dispose]();
    closeSync(this.#fd);
  }
}

function newDamage(): PromiseWithResolvers<never> {
  const damage = Promise.withResolvers<never>();
  damage.promise.catch(() => undefined); // Nobody need be waiting.
  return damage;
}
