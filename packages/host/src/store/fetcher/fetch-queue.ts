import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import { keys, type ObjectStore } from "../client/object-store.ts";
import { decodeChunk } from "../format/chunk.ts";
import type { ChunkCache } from "./chunk-cache.ts";
import { type LazyImage, Want } from "./lazy-image.ts";

/** Requests under way. */
const AT_ONCE = 8;
/** Of these for what nobody waits for yet. */
const BACKGROUND_AT_ONCE = 2;
/** Longest part of a pack that one request asks for, in bytes, by how much it is wanted. */
const LONGEST = {
  [Want.background]: 4 * 1024 * 1024,
  [Want.ahead]: 2 * 1024 * 1024,
  [Want.now]: 512 * 1024,
} as const;
/** Bytes nobody asked for that are fetched along rather than with a request more. */
const LONGEST_GAP = 32 * 1024;
const BACKGROUND_PAUSE_MS = 2_000;

interface Wanted {
  image: LazyImage;
  part: number;
}

type Level = keyof typeof LONGEST;

/** A stretch of a pack with parts of one image, fetched by one request. */
interface Run {
  image: LazyImage;
  parts: number[];
  offset: number;
  length: number;
  level: Level;
}

/**
 * What is to be fetched, and in which order: what a guest waits for, then what it is likely to touch soon, then the rest. A part is
 * fetched once, however many wait for it; neighbours in a pack that are wanted as well come with one request.
 */
export class FetchQueue {
  readonly #store: ObjectStore;
  readonly #cache: ChunkCache;
  readonly #now: Wanted[] = [];
  readonly #ahead: Wanted[] = [];
  readonly #background: LazyImage[] = [];
  #running = 0;
  #runningInBackground = 0;
  #paused = false;
  fetchedBytes = 0;
  requests = 0;

  constructor(store: ObjectStore, cache: ChunkCache) {
    this.#store = store;
    this.#cache = cache;
  }

  /** Resolves when the part is there. @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`. */
  async fetch(image: LazyImage, part: number): Promise<void> {
    if (image.has(part)) return;
    const done = image.wait(part);
    if ((image.wants[part] ?? 0) < Want.now) {
      image.wants[part] = Want.now;
      this.#now.push({ image, part });
      this.#pump();
    }
    return done;
  }

  /** Fetches parts that are likely to be touched, in this order. */
  ahead(image: LazyImage, parts: readonly number[]): void {
    for (const part of parts) {
      if (part >= image.wants.length || image.has(part) || (image.wants[part] ?? 0) >= Want.ahead) continue;
      image.wants[part] = Want.ahead;
      this.#ahead.push({ image, part });
    }
    this.#pump();
  }

  /** Fetches the rest of a file when there is nothing better to do. */
  complete(image: LazyImage): void {
    if (!this.#background.includes(image)) this.#background.push(image);
    this.#pump();
  }

  /** Whether there is nothing left to do. */
  get isIdle(): boolean {
    return (
      this.#running === 0 &&
      this.#now.length === 0 &&
      this.#ahead.length === 0 &&
      this.#background.length === 0
    );
  }

  #pump(): void {
    while (this.#running < AT_ONCE) {
      const run =
        this.#next(this.#now, Want.now) ?? this.#next(this.#ahead, Want.ahead) ?? this.#nextInBackground();
      if (run === undefined) return;
      this.#running++;
      if (run.level === Want.background) this.#runningInBackground++;
      void this.#run(run).finally(() => {
        this.#running--;
        if (run.level === Want.background) this.#runningInBackground--;
        this.#pump();
      });
    }
  }

  #next(queue: Wanted[], level: Level): Run | undefined {
    for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
      if (first.image.has(first.part) || first.image.wants[first.part] !== level) continue;
      return this.#extend(first.image, first.part, level);
    }
    return undefined;
  }

  #nextInBackground(): Run | undefined {
    if (this.#paused || this.#runningInBackground >= BACKGROUND_AT_ONCE) return undefined;
    for (let image = this.#background[0]; image !== undefined; image = this.#background[0]) {
      const part = image.nextMissing();
      if (part !== undefined) return this.#extend(image, part, Want.background);
      this.#background.shift();
    }
    return undefined;
  }

  /** Takes along the parts that follow in the same pack, as far as they are wanted as much. */
  #extend(image: LazyImage, first: number, level: Level): Run {
    const { pack, offset, stored } = image.chunk(first);
    const run: Run = { image, parts: [first], offset, length: stored, level };
    image.wants[first] = Want.coming;
    for (let part = first + 1; part < image.wants.length; part++) {
      const chunk = image.chunk(part);
      const end = chunk.offset + chunk.stored - offset;
      if (chunk.pack !== pack || chunk.offset < offset + run.length || end > LONGEST[level]) break;
      if (chunk.offset - offset - run.length > LONGEST_GAP) break;
      const want = image.wants[part] ?? 0;
      if (image.has(part) || want === Want.coming || (level !== Want.background && want < Want.ahead))
        continue;
      image.wants[part] = Want.coming;
      run.parts.push(part);
      run.length = end;
    }
    return run;
  }

  async #run(run: Run): Promise<void> {
    const { image, level } = run;
    let parts = run.parts;
    try {
      parts = await this.#takeFromCache(image, parts);
      if (parts.length > 0) await this.#takeFromStore(image, parts);
    } catch (error) {
      for (const part of parts) if (!image.has(part)) image.fail(part, error);
      if (level === Want.background) {
        if (error instanceof KilnError && error.code === "STORE_DAMAGED")
          image.skip(parts.at(-1) ?? 0, error);
        else await this.#pause();
      }
    }
  }

  /** @returns the parts that are not in the cache. */
  async #takeFromCache(image: LazyImage, parts: readonly number[]): Promise<number[]> {
    const missing: number[] = [];
    for (const part of parts) {
      const { digest } = image.chunk(part);
      const bytes = await this.#cache.get(digest);
      const content = bytes && (await this.#decode(image, part, bytes).catch(() => undefined));
      if (content) await image.put(part, content);
      else {
        if (bytes) await this.#cache.drop(digest);
        missing.push(part);
      }
    }
    return missing;
  }

  async #takeFromStore(image: LazyImage, parts: readonly number[]): Promise<void> {
    const first = image.chunk(parts[0] ?? 0);
    const last = image.chunk(parts.at(-1) ?? 0);
    const length = last.offset + last.stored - first.offset;
    const pack = image.manifest.packs[first.pack]?.digest ?? "";
    const what = `pack ${pack}`;
    this.requests++;
    const bytes = await this.#store.get(keys.pack(pack), {
      range: { offset: first.offset, length },
      maxBytes: length,
    });
    this.fetchedBytes += bytes?.length ?? 0;
    if (bytes?.length !== length) {
      throw new KilnError("STORE_DAMAGED", `${what} in the store is ${bytes ? "cut short" : "missing"}`, {
        hint: "kiln store verify says what needs it; push that again",
      });
    }
    let failure: unknown;
    for (const part of parts) {
      const { digest, offset, stored } = image.chunk(part);
      const chunk = bytes.subarray(offset - first.offset, offset - first.offset + stored);
      try {
        await image.put(part, await this.#decode(image, part, chunk));
        await this.#cache.put(digest, chunk);
      } catch (error) {
        failure ??= error;
        image.fail(part, error);
      }
    }
    if (failure !== undefined) throw failure;
  }

  #decode(image: LazyImage, part: number, bytes: Buffer): Promise<Buffer> {
    const { digest, raw, pack } = image.chunk(part);
    const what = `chunk ${digest} of pack ${image.manifest.packs[pack]?.digest}`;
    return decodeChunk({ bytes, raw }, { digest, length: image.contentLength(part) }, what);
  }

  /** Leaves a store alone that does not answer. */
  async #pause(): Promise<void> {
    this.#paused = true;
    await delay(BACKGROUND_PAUSE_MS, undefined, { ref: false });
    this.#paused = false;
  }
}
