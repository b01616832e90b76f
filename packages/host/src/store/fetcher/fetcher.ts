import { KilnError } from "../../errors.ts";
import type { Arrivals, FetchStatus } from "../../lazy/fetch-protocol.ts";
import type { ObjectStore } from "../client/object-store.ts";
import { endHold, renewHold } from "../hold.ts";
import type { ChunkCache } from "./chunk-cache.ts";
import { FetchQueue } from "./fetch-queue.ts";
import { LazyImage } from "./lazy-image.ts";
import { hasStart, readTrace, writeTrace } from "./trace.ts";

/** A start is over when for so long nothing was asked for: what was touched by then is kept as the template's trace. In milliseconds. */
const QUIET_MS = 5_000;
/** A guest that never is quiet has started after so long. */
const LONGEST_START_MS = 120_000;
const RENEW_HOLDS_MS = 6 * 3600_000;
/** Parts that one answer tells of. */
const MAX_ARRIVALS = 4096;

export interface FetcherOptions {
  store: ObjectStore;
  cache: ChunkCache;
  /** Name of this node in the store. */
  node: string;
  /** Whether files are completed that nobody waits for. */
  completes: boolean;
}

/** Brings files that are not here yet: all of one KILN_HOME, in one process, so that everything is fetched once. */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #queue: FetchQueue;
  readonly #images = new Map<string, LazyImage>();
  readonly #traced = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** When something was asked for last. */
  #asked = 0;
  /** Why the store could not be used the last time, while it cannot. */
  failure: string | null = null;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#queue = new FetchQueue(options.store, options.cache);
    const renewing = setInterval(() => void this.#renewHolds(), RENEW_HOLDS_MS);
    this.#timers.add(renewing);
  }

  /** @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`, `USAGE`. */
  async fetch(path: string, first: number, end: number): Promise<void> {
    const image = this.#open(path);
    if (image === undefined) return;
    await this.#fetchAll(image, first, end);
  }

  /** Resolves with whether all of it is there, after some time or when it is. @throws KilnError `STORE_DAMAGED`. */
  async complete(path: string, patience: Promise<unknown>): Promise<boolean> {
    const image = this.#open(path);
    if (image === undefined || image.missing === 0) return true;
    const { damaged, whole } = image;
    this.#queue.complete(image, true);
    return Promise.race([whole.then(() => true), damaged, patience.then(() => false)]);
  }

  /** Begins with files that a start needs: what earlier starts have touched first, the rest when there is nothing else to do. */
  async begin(paths: readonly string[]): Promise<void> {
    const images = paths.map((path) => this.#open(path)).filter((image) => image !== undefined);
    for (const image of images) void this.#fetchAhead(image).catch(() => undefined);
  }

  /** A start does not wait for it. */
  async #fetchAhead(image: LazyImage): Promise<void> {
    const { store } = this.#options;
    const [trace, together] = await Promise.all([
      readTrace(store, image.image),
      hasStart(store, image.image),
    ]);
    if (trace.length > 0) this.#traced.add(image.image);
    const ahead = trace.filter((part) => part < image.wants.length);
    for (const part of ahead) if (image.has(part)) image.arrive(part);
    if (together) this.#queue.aheadOfStart(image, ahead);
    else this.#queue.ahead(image, ahead);
  }

  /** Tells which parts that somebody wanted have come, in that order, from the `since`-th on; waits for one until `patience` ends. */
  async arrivals(path: string, since: number, patience: Promise<unknown>): Promise<Arrivals> {
    const image = this.#open(path);
    if (image === undefined) return { parts: [], next: since, whole: true };
    // Another fetcher's count: what it has told is not known here, and told again.
    const from = since > image.arrived.length ? 0 : since;
    if (image.arrived.length === from && image.missing > 0)
      await Promise.race([image.nextArrival(), patience]);
    const parts = image.arrived.slice(from, from + MAX_ARRIVALS);
    const next = from + parts.length;
    return { parts, next, whole: image.missing === 0 && next === image.arrived.length };
  }

  status(): FetchStatus {
    return {
      files: [...this.#images.values()].map(({ path, wants, missing, touched, waiting, failure }) => ({
        path,
        parts: wants.length,
        missing,
        touched: touched.length,
        waiting,
        failure: failure ?? (waiting > 0 ? this.failure : null),
      })),
      fetchedBytes: this.#queue.fetchedBytes,
      requests: this.#queue.requests,
      failure: this.failure,
    };
  }

  /** Whether nobody would miss it. */
  get isIdle(): boolean {
    return this.#queue.isIdle && this.#timers.size <= 1;
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([...this.#images.values()].map((image) => this.#keepTrace(image)));
  }

  async #fetchAll(image: LazyImage, first: number, end: number): Promise<void> {
    if (end > image.wants.length || first > end)
      throw new KilnError("USAGE", `${image.path} has no such parts`);
    this.#asked = performance.now();
    const missing: Promise<void>[] = [];
    for (let part = first; part < end; part++) {
      image.touch(part);
      if (!image.has(part)) missing.push(this.#queue.fetch(image, part));
    }
    await Promise.all(missing);
  }

  #open(path: string): LazyImage | undefined {
    const known = this.#images.get(path);
    if (known?.isCurrent) return known;
    // A template that was removed and has come again.
    this.#images.delete(path);
    const image = LazyImage.open(path);
    if (image === undefined) return undefined;
    this.#images.set(path, image);
    void image.whole.then(() => endHold(this.#options.store, image.image, this.#options.node));
    this.#later([image]);
    return image;
  }

  /** When the start is over, keeps its trace and sees to the rest of the files. */
  #later(images: readonly LazyImage[]): void {
    const begun = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      if (now - Math.max(begun, this.#asked) < QUIET_MS && now - begun < LONGEST_START_MS) return;
      clearInterval(timer);
      this.#timers.delete(timer);
      for (const image of images) {
        void this.#keepTrace(image);
        if (this.#options.completes) this.#queue.complete(image, false);
      }
    }, QUIET_MS / 4);
    this.#timers.add(timer);
  }

  /** A first start's trace is kept for the next ones; later ones would only add what their programs did. */
  async #keepTrace(image: LazyImage): Promise<void> {
    if (this.#traced.has(image.image) || image.touched.length === 0) return;
    this.#traced.add(image.image);
    await writeTrace(this.#options.store, image.image, [...image.touched]);
  }

  async #renewHolds(): Promise<void> {
    for (const image of this.#images.values()) {
      if (image.missing > 0)
        await renewHold(this.#options.store, image.image, this.#options.node).catch(() => undefined);
    }
  }
}
