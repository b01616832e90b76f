import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../errors.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";

/** A lease that was not renewed for so long belongs to nobody any more, in milliseconds by the store's clock. */
const LIFE_MS = 60_000;
const RENEW_MS = 15_000;
const LOOK_AGAIN_MS = 500;

export interface Lease extends AsyncDisposable {
  /** @throws KilnError `CONFLICT` when it may have been taken for abandoned: what it was to protect must not be published. */
  check(): void;
}

interface Held extends Lease {
  key: string;
  /** The store's time when it was written. */
  written(): Promise<Date>;
}

/**
 * Says in the store that its objects are being used: whoever makes references to objects (a push, a pull) holds one of these meanwhile,
 * and nothing is collected. Waits for a collection under way.
 *
 * Users and the collector each write their lease first and look for the other's then; since a store shows at once what was written to
 * it, at least one of the two sees the other. A user gives way.
 */
export async function useStore(store: ObjectStore, signal?: AbortSignal): Promise<Lease> {
  for (;;) {
    const lease = await hold(store, "use", signal);
    try {
      if ((await living(store, "gc", lease, signal)).length === 0) return lease;
    } catch (error) {
      await lease[Symbol.asyncDispose]();
      throw error;
    }
    await lease[Symbol.asyncDispose]();
    await delay(LOOK_AGAIN_MS * (0.5 + Math.random()), undefined, signal && { signal });
  }
}

/**
 * Keeps everybody from making references, for a collection: waits until nobody does.
 * @param patienceMs how long to wait for those who do, in milliseconds.
 * @throws KilnError `CONFLICT` when another collection is under way, or somebody takes longer.
 */
export async function collectStore(
  store: ObjectStore,
  patienceMs: number,
  signal?: AbortSignal,
): Promise<Lease> {
  const lease = await hold(store, "gc", signal);
  try {
    const others = await living(store, "gc", lease, signal);
    if (others.length > 0) throw new KilnError("CONFLICT", "another collection of this store is under way");
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const users = await living(store, "use", lease, signal);
      if (users.length === 0) return lease;
      if (performance.now() > deadline) {
        throw new KilnError("CONFLICT", `the store is being used by ${users.length} pushes or pulls`, {
          hint: "collect again when they are done",
        });
      }
      await delay(LOOK_AGAIN_MS, undefined, signal && { signal });
    }
  } catch (error) {
    await lease[Symbol.asyncDispose]();
    throw error;
  }
}

async function hold(store: ObjectStore, kind: "use" | "gc", signal: AbortSignal | undefined): Promise<Held> {
  const key = keys.lease(kind, randomBytes(12).toString("hex"));
  const content = Buffer.from(`${JSON.stringify({ format: 1, pid: process.pid })}\n`);
  let renewed = performance.now();
  const write = async () => {
    const began = performance.now();
    await store.put(key, content, signal);
    renewed = began;
  };
  await write();
  let renewing = Promise.resolve();
  const timer = setInterval(() => {
    renewing = renewing.then(write).catch(() => undefined); // `check` notices.
  }, RENEW_MS);
  timer.unref();
  return {
    key,
    check: () => {
      if (performance.now() - renewed < LIFE_MS / 2) return;
      throw new KilnError("CONFLICT", "the store's lease could not be renewed in time", {
        hint: "start again",
      });
    },
    written: async () => {
      const info = await store.head(key, signal);
      if (info === undefined) throw new KilnError("CONFLICT", "the store's lease was taken away");
      return info.modified;
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await renewing;
      await store.delete(key).catch(() => undefined); // It ends by itself.
    },
  };
}

/** The leases of a kind that are held, but for `own`; abandoned ones are removed. */
async function living(
  store: ObjectStore,
  kind: "use" | "gc",
  own: Held,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const found: string[] = [];
  let now: number | undefined;
  for await (const { key, modified } of store.list(`leases/${kind}/`, signal)) {
    if (key === own.key) continue;
    // Own lease was written by the same clock at most one renewal ago.
    now ??= (await own.written()).getTime();
    if (now - modified.getTime() > LIFE_MS) await store.delete(key, signal);
    else found.push(key);
  }
  return found;
}
