import { inParallel } from "../os/in-parallel.ts";
import type { ObjectInfo, ObjectStore } from "./client/object-store.ts";
import { imagesOf } from "./format/template-manifest.ts";
import { HOLD_LIFE_MS } from "./hold.ts";
import { readImageManifest } from "./known-chunks.ts";
import { collectStore } from "./lease.ts";
import { listTags, readTemplateManifest } from "./references.ts";
import { listSandboxes, readSandboxManifest } from "./sandboxes.ts";

const DAY_MS = 24 * 3600_000;
/** How long to wait for pushes and pulls that are under way. */
const PATIENCE_MS = 10 * 60_000;
const AT_ONCE = 16;

export interface CollectOptions {
  /** Versions without a name are kept for so long, in milliseconds. @default 7 days */
  keepVersionsMs?: number;
  /** What nothing refers to, such as the beginning of a push that was cut off, is kept for so long. @default 1 day */
  keepUnusedMs?: number;
  patienceMs?: number;
  /** Says what would be removed. */
  dryRun?: boolean;
  signal?: AbortSignal | undefined;
}

export interface Collected {
  removed: number;
  removedBytes: number;
  kept: number;
  keptBytes: number;
}

/**
 * Removes what nothing refers to: neither a name, nor a version that was pushed not long ago, nor a node that is fetching it. Nobody makes
 * references meanwhile: see lease.ts. What refers goes before what it refers to, so that a collection that is cut off leaves nothing half.
 *
 * @throws KilnError `CONFLICT` when the store is in use for longer than it waits; `STORE_DAMAGED` when a version that has a name cannot be
 * read: what it needs is not known then, and nothing is removed.
 */
export async function collect(store: ObjectStore, options: CollectOptions = {}): Promise<Collected> {
  const {
    keepVersionsMs = 7 * DAY_MS,
    keepUnusedMs = DAY_MS,
    patienceMs = PATIENCE_MS,
    dryRun = false,
    signal,
  } = options;
  await using lease = await collectStore(store, patienceMs, signal);
  const all: ObjectInfo[] = [];
  for await (const info of store.list("", signal)) all.push(info);
  const now = Math.max(
    0,
    ...all.filter(({ key }) => key.startsWith("leases/gc/")).map(({ modified }) => modified.getTime()),
  );
  const age = ({ modified }: ObjectInfo) => now - modified.getTime();

  const named = new Set((await requireAllTags(store, all, signal)).map(({ digest }) => digest));
  const versions = new Set(named);
  for (const info of all) {
    if (info.key.startsWith("templates/") && age(info) < keepVersionsMs) versions.add(last(info.key));
  }
  const images = new Set<string>();
  for (const info of all) {
    if (info.key.startsWith("holds/") && age(info) < HOLD_LIFE_MS) images.add(info.key.split("/")[1] ?? "");
  }
  for (const digest of versions) {
    const manifest = await orUndefined(
      readTemplateManifest(store, { name: undefined, digest }, signal),
      !named.has(digest),
    );
    for (const image of imagesOf(manifest?.folders ?? {})) images.add(image);
  }
  // A sandbox that nobody has taken yet is somebody's work.
  const sandboxes = new Set<string>();
  for await (const { id, digest } of listSandboxes(store, signal)) {
    sandboxes.add(digest);
    const { folders } = await readSandboxManifest(store, { id, digest }, signal);
    for (const image of imagesOf(folders)) images.add(image);
  }
  const held = new Set(all.filter(({ key }) => key.startsWith("holds/")).map(({ key }) => key.split("/")[1]));
  const packs = await packsOf(store, images, held, signal);

  const isSigned = (digest: string) => versions.has(digest) || sandboxes.has(digest);
  const isUsed = (info: ObjectInfo): boolean => {
    const { key } = info;
    switch (key.split("/")[0]) {
      case "templates":
        return versions.has(last(key));
      case "signatures":
        return isSigned(key.split("/")[1] ?? "") || age(info) < keepUnusedMs;
      case "images":
        return images.has(last(key)) || age(info) < keepUnusedMs;
      case "traces":
      case "starts":
        return images.has(last(key));
      case "packs":
        return packs.has(last(key)) || age(info) < keepUnusedMs;
      case "holds":
        return age(info) < HOLD_LIFE_MS;
      default:
        return true;
    }
  };
  const result: Collected = { removed: 0, removedBytes: 0, kept: 0, keptBytes: 0 };
  const doomed: ObjectInfo[] = [];
  for (const info of all) {
    if (info.key.startsWith("leases/")) continue;
    if (isUsed(info)) {
      result.kept++;
      result.keptBytes += info.size;
    } else doomed.push(info);
  }
  for (const prefix of ["templates/", "signatures/", "traces/", "starts/", "holds/", "images/", "packs/"]) {
    const group = doomed.filter(({ key }) => key.startsWith(prefix));
    const remove = async (info: ObjectInfo, linked: AbortSignal) => {
      lease.check();
      if (!dryRun) await store.delete(info.key, linked);
      result.removed++;
      result.removedBytes += info.size;
    };
    await inParallel(group, remove, { atOnce: AT_ONCE, signal });
  }
  return result;
}

const last = (key: string): string => key.slice(key.lastIndexOf("/") + 1);

/** The names of the store. One that cannot be read stops a collection: nobody knows what it needs. */
async function requireAllTags(
  store: ObjectStore,
  all: readonly ObjectInfo[],
  signal: AbortSignal | undefined,
) {
  const tags = await listTags(store, signal);
  const names = new Set(tags.map(({ name }) => name));
  const unreadable = all.find(({ key }) => key.startsWith("tags/") && !names.has(last(key)));
  if (unreadable === undefined) return tags;
  const { damaged } = await import("./format/digest.ts");
  throw damaged(`tag ${last(unreadable.key)}`, "it does not say which version it stands for");
}

async function packsOf(
  store: ObjectStore,
  images: ReadonlySet<string>,
  held: ReadonlySet<string | undefined>,
  signal: AbortSignal | undefined,
): Promise<Set<string>> {
  const packs = new Set<string>();
  const read = async (digest: string, linked: AbortSignal) => {
    const found = await orUndefined(readImageManifest(store, digest, linked), held.has(digest));
    for (const pack of found?.manifest.packs ?? []) packs.add(pack.digest);
  };
  await inParallel(images, read, { atOnce: AT_ONCE, signal });
  return packs;
}

/** What `work` gives; undefined, where that is allowed, when the object is damaged or missing. */
async function orUndefined<T>(work: Promise<T>, allowed: boolean): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const isDamage = error instanceof Error && "code" in error && error.code === "STORE_DAMAGED";
    if (allowed && isDamage) return undefined;
    throw error;
  }
}
