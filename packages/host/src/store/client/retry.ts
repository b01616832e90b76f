import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import type { GetOptions, ObjectInfo, ObjectStore } from "./object-store.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

export interface RetryOptions {
  /** How long to try before a failure is final, in milliseconds. */
  patienceMs: number;
  /** Told of every failed attempt. */
  onFailure?: (error: KilnError) => void;
  /** Told of every operation that was done. */
  onSuccess?: () => void;
}

/** HTTP statuses that say that asking again is of no use. */
const FINAL = new Set([400, 401, 403, 404, 405, 411, 412]);

/**
 * `store`, asked again while it does not answer: with pauses that double, somewhat at random, so that many who wait do not come back
 * at once. Every operation may be done twice: what is written is the same each time.
 */
export function retrying(
  store: ObjectStore,
  { patienceMs, onFailure, onSuccess }: RetryOptions,
): ObjectStore {
  const insist = async <T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
    const deadline = performance.now() + patienceMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        const result = await work();
        onSuccess?.();
        return result;
      } catch (error) {
        if (!(error instanceof KilnError) || error.code !== "STORE_UNAVAILABLE") throw error;
        onFailure?.(error);
        const status = error.details?.status;
        if (performance.now() + pause > deadline || (typeof status === "number" && FINAL.has(status)))
          throw error;
        await delay(pause * (0.5 + Math.random() / 2), undefined, signal && { signal });
      }
    }
  };
  return {
    name: store.name,
    remote: store.remote,
    get: (key: string, options: GetOptions) => insist(() => store.get(key, options), options.signal),
    put: (key, bytes, signal, sha256) => insist(() => store.put(key, bytes, signal, sha256), signal),
    create: (key, bytes, signal) => insist(() => store.create(key, bytes, signal), signal),
    head: (key, signal) => insist(() => store.head(key, signal), signal),
    delete: (key, signal) => insist(() => store.delete(key, signal), signal),
    async *list(prefix, signal): AsyncIterable<ObjectInfo> {
      const all = async () => {
        const found: ObjectInfo[] = [];
        for await (const info of store.list(prefix, signal)) found.push(info);
        return found;
      };
      yield* await insist(all, signal);
    },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
