import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import { inParallel } from "../../os/in-parallel.ts";
import { keys, type ObjectStore } from "../client/object-store.ts";
import { decodeChunk } from "../format/chunk.ts";
import { damaged } from "../format/digest.ts";
import { BLOCK } from "../format/limits.ts";
import { ChunkThreads } from "../threads/chunk-threads.ts";
import type { ChunkCache } from "./chunk-cache.ts";
import { type LazyImage, Want } from "./lazy-image.ts";

/** Requests under way. */
const AT_ONCE = 8;
/** Of these for what nobody waits for yet. */
const AHEAD_AT_ONCE = 4;
/** What nobody waits for stands back for so long after somebody wanted something, in milliseconds: it takes processor time from starts. */
const STAND_BACK_MS = 2_000;
/** Longest part of a pack that one request asks for, in bytes, by how much it is wanted. */
const LONGEST = {
  [Want.background]: 4 * 1024 * 1024,
  [Want.ahead]: 2 * 1024 * 1024,
  [Want.now]: 512 * 1024,
} as const;
/** Bytes nobody asked for that are fetched along rather than with a request more. */
const LONGEST_GAP = 32 * 1024;
/** How long a store that does not answer is left alone, in milliseconds. */
const LEAVE_ALONE_MS = 2_000;
/** Chunks of one request that are unpacked and checked at once. */
const UNPACKING = 4;

interface Wanted {
  image: LazyImage;
  part: number;
}

type Level = keyof typeof LONGEST;

/** A stretch of an object with parts of one image, fetched by one request. */
interface Run {
  image: LazyImage;
  parts: number[];
  /** The object, a pack or a start, and where each of the parts begins in it. */
  key: string;
  offsets: number[];
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
  /** For what nobody waits for: a single chunk is unpacked sooner without. */
  readonly #threads = new ChunkThreads();
  readonly #now: Wanted[] = [];
  readonly #starts: Run[] = [];
  readonly #ahead: Wanted[] = [];
  readonly #background: LazyImage[] = [];
  /** Those of the background that somebody waits for as a whole. */
  readonly #awaited = new Set<LazyImage>();
  #running = 0;
  #runningInBackground = 0;
  /** When the background goes on, by the clock of `performance`. */
  #restUntil = 0;
  #rest: NodeJS.Timeout | undefined;
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
    this.#standBack(STAND_BACK_MS);
    if ((image.wants[part] ?? 0) < Want.now) {
      image.wants[part] = Want.now;
      this.#now.push({ image, part });
      this.#pump();
    }
    return done;
  }

  /** Fetches parts that are likely to be touched, in this order. */
  ahead(image: LazyImage, parts: readonly number[]): void {
    this.#standBack(STAND_BACK_MS);
    for (const part of parts) {
      if (part >= image.wants.length || image.has(part) || (image.wants[part] ?? 0) >= Want.ahead) continue;
      image.wants[part] = Want.ahead;
      this.#ahead.push({ image, part });
    }
    this.#pump();
  }

  /** Fetches parts that are likely to be touched and lie in the image's start, one after the other from its beginning. */
  aheadOfStart(image: LazyImage, parts: readonly number[]): void {
    let run: Run | undefined;
    let at = 0;
    for (const part of parts) {
      const { stored } = image.chunk(part);
      if (run === undefined || run.length + stored > LONGEST[Want.ahead]) {
        run = { image, parts: [], key: keys.start(image.image), offsets: [], length: 0, level: Want.ahead };
        this.#starts.push(run);
      }
      run.parts.push(part);
      run.offsets.push(at);
      run.length += stored;
      at += stored;
    }
    this.#standBack(STAND_BACK_MS);
    this.#pump();
  }

  /** Fetches the rest of a file: when there is nothing better to do, or at once, if it is `awaited`. */
  complete(image: LazyImage, awaited: boolean): void {
    if (!this.#background.includes(image)) this.#background.push(image);
    if (awaited) this.#awaited.add(image);
    this.#pump();
  }

  /** Whether there is nothing left to do. */
  get isIdle(): boolean {
    return (
      this.#running === 0 &&
      this.#now.length === 0 &&
      this.#starts.length === 0 &&
      this.#ahead.length === 0 &&
      this.#background.length === 0
    );
  }

  #pump(): void {
    while (this.#running < AT_ONCE) {
      const run =
        this.#next(this.#now, Want.now) ?? (this.#running < AHEAD_AT_ONCE ? this.#nextAhead() : undefined);
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

  #nextAhead(): Run | undefined {
    for (let run = this.#starts.shift(); run !== undefined; run = this.#starts.shift()) {
      const { image, parts } = run;
      const missing = parts.filter((part) => !image.has(part) && image.wants[part] !== Want.coming);
      for (const part of missing) image.wants[part] = Want.coming;
      if (missing.length > 0) return run;
    }
    return this.#next(this.#ahead, Want.ahead) ?? this.#nextInBackground();
  }

  #next(queue: Wanted[], level: Level): Run | undefined {
    for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
      if (first.image.has(first.part) || first.image.wants[first.part] !== level) continue;
      return this.#extend(first.image, first.part, level);
    }
    return undefined;
  }

  #nextInBackground(): Run | undefined {
    for (const image of [...this.#awaited, ...this.#background]) {
      if (!this.#awaited.has(image) && (this.#runningInBackground > 0 || this.#isResting())) return undefined;
      const part = image.nextMissing();
      if (part !== undefined) return this.#extend(image, part, Want.background);
      this.#awaited.delete(image);
      this.#background.splice(this.#background.indexOf(image), 1);
    }
    return undefined;
  }

  #standBack(ms: number): void {
    this.#restUntil = Math.max(this.#restUntil, performance.now() + ms);
  }

  /** Whether what nobody waits for has to wait. */
  #isResting(): boolean {
    const left = this.#restUntil - performance.now();
    if (left <= 0) return false;
    this.#rest ??= setTimeout(() => {
      this.#rest = undefined;
      this.#pump();
    }, left);
    return true;
  }

  /** Takes along the parts that follow in the same pack, as far as they are wanted as much. */
  #extend(image: LazyImage, first: number, level: Level): Run {
    const { pack, offset, stored } = image.chunk(first);
    const key = keys.pack(image.manifest.packs[pack]?.digest ?? "");
    const run: Run = { image, parts: [first], key, offsets: [offset], length: stored, level };
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
      run.offsets.push(chunk.offset);
      run.length = end;
    }
    return run;
  }

  async #run(run: Run): Promise<void> {
    const { image, level, parts } = run;
    const started = performance.now();
    try {
      if (!(await this.#takeFromCache(run))) await this.#takeFromStore(run);
      // The processor and the network are others' half of the time.
      if (level === Want.background) this.#standBack(performance.now() - started);
    } catch (error) {
      const missing = parts.filter((part) => !image.has(part));
      // A start is a copy of what packs have: whatever is wrong with it, these are right.
      if (run.key === keys.start(image.image)) return this.#fromPacks(image, missing);
      for (const part of missing) image.fail(part, error);
      if (level === Want.background) {
        if (error instanceof KilnError && error.code === "STORE_DAMAGED")
          image.skip(parts.at(-1) ?? 0, error);
        else await delay(LEAVE_ALONE_MS, undefined, { ref: false });
      }
    }
  }

  #fromPacks(image: LazyImage, parts: readonly number[]): void {
    for (const part of parts) {
      const level = image.isAwaited(part) ? Want.now : Want.ahead;
      image.wants[part] = level;
      (level === Want.now ? this.#now : this.#ahead).push({ image, part });
    }
  }

  /** @returns whether all of it was in the cache. */
  async #takeFromCache({ image, parts, level }: Run): Promise<boolean> {
    let all = true;
    for (const part of parts) {
      if (image.has(part)) continue;
      const { digest } = image.chunk(part);
      const bytes = await this.#cache.get(digest);
      const content = bytes && (await this.#decode(image, part, bytes).catch(() => undefined));
      if (content) await image.put(part, content, level);
      else {
        if (bytes) await this.#cache.drop(digest);
        all = false;
      }
    }
    return all;
  }

  async #takeFromStore(run: Run): Promise<void> {
    const { key, offsets, length, level } = run;
    const offset = offsets[0] ?? 0;
    this.requests++;
    const bytes = await this.#store.get(key, { range: { offset, length }, maxBytes: length });
    this.fetchedBytes += bytes?.length ?? 0;
    if (bytes?.length !== length) {
      throw new KilnError(
        "STORE_DAMAGED",
        `${nameOf(key)} in the store is ${bytes ? "cut short" : "missing"}`,
        {
          hint: "kiln store verify says what needs it; push that again",
        },
      );
    }
    const refused =
      level === Want.background ? await this.#unpackMany(run, bytes) : await this.#unpackEach(run, bytes);
    if (refused !== undefined) throw refused;
  }

  /** @returns the first failure of those that there were. */
  async #unpackEach({ image, parts, key, offsets, level }: Run, bytes: Buffer): Promise<unknown> {
    let failure: unknown;
    const take = async (part: number, index: number) => {
      if (image.has(part)) return;
      const { digest, stored } = image.chunk(part);
      const begin = (offsets[index] ?? 0) - (offsets[0] ?? 0);
      const chunk = bytes.subarray(begin, begin + stored);
      try {
        await image.put(part, await this.#decode(image, part, chunk), level);
        this.#cache.putLater(digest, Buffer.from(chunk));
      } catch (error) {
        failure ??= error;
        if (!key.startsWith("starts/")) image.fail(part, error);
      }
    };
    await inParallel(parts.entries(), ([index, part]) => take(part, index), { atOnce: UNPACKING });
    return failure;
  }

  /** As `#unpackEach`, in a thread that writes the contents as well. */
  async #unpackMany({ image, parts, offsets }: Run, bytes: Buffer<ArrayBuffer>): Promise<unknown> {
    const chunks = parts.map((part, index) => {
      const { stored, raw, digest, block } = image.chunk(part);
      const offset = (offsets[index] ?? 0) - (offsets[0] ?? 0);
      return { offset, stored, raw, digest, length: image.contentLength(part), position: block * BLOCK };
    });
    const { refused, given } = await this.#threads.run({ kind: "unpack", bytes, chunks, fd: image.fd });
    const failures = new Map(refused.map(({ index, why }) => [index, why]));
    let failure: KilnError | undefined;
    for (const [index, part] of parts.entries()) {
      const chunk = chunks[index];
      const why = failures.get(index);
      if (chunk === undefined) continue;
      if (why === undefined) {
        await image.note(part);
        this.#cache.putLater(chunk.digest, given.subarray(chunk.offset, chunk.offset + chunk.stored));
      } else {
        const error = damaged(nameOfChunk(image, part), why);
        failure ??= error;
        image.fail(part, error);
      }
    }
    return failure;
  }

  #decode(image: LazyImage, part: number, bytes: Buffer): Promise<Uint8Array> {
    const { digest, raw } = image.chunk(part);
    return decodeChunk(
      { bytes, raw },
      { digest, length: image.contentLength(part) },
      nameOfChunk(image, part),
    );
  }
}

function nameOfChunk(image: LazyImage, part: number): string {
  const { digest, pack } = image.chunk(part);
  return `chunk ${digest} of pack ${image.manifest.packs[pack]?.digest}`;
}

/** For people, as it is called elsewhere: `packs/ab/abcd…` is "pack abcd…". */
const nameOf = (key: string): string => `${key.split("/")[0]?.slice(0, -1)} ${key.split("/").at(-1)}`;
