import { stat, utimes } from "node:fs/promises";
import { relative } from "node:path";
import { rootfsKey } from "../build/rootfs.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { readUses, stopUses } from "../os/in-use.ts";
import { removeSnapshot, snapshotsOf } from "../snapshot/cache.ts";
import { type SnapshotManifest, snapshotPaths } from "../snapshot/manifest.ts";
import { listTemplates, resolveTemplate } from "../template/templates.ts";
import { readRecords } from "./sandbox-record.ts";
import { referenced } from "./storage.ts";

/** Snapshots in other sizes than a template's own that are kept of one rootfs: each has a file as large as its memory. */
export const MAX_VARIANTS = 4;
/** One that was used since is kept whatever their number: a sandbox may be about to start from it. */
const RECENT_MS = 10 * 60_000;

/** Within that a use is not noted again, in milliseconds. */
const NOTED_FOR_MS = RECENT_MS / 10;
/** When uses were noted, by the path of the manifest. */
const noted = new Map<string, number>();

/** Notes that a sandbox starts from a snapshot, to a minute. */
export async function markUsed(home: KilnHome, snapshotKey: string): Promise<void> {
  const { manifest } = snapshotPaths(home.snapshot(snapshotKey));
  const now = Date.now();
  const age = now - (noted.get(manifest) ?? Number.NEGATIVE_INFINITY);
  if (age >= 0 && age < NOTED_FOR_MS) return;
  noted.set(manifest, now);
  // Only what is removed first depends on it.
  await utimes(manifest, now / 1_000, now / 1_000).catch(() => undefined);
}

/**
 * Removes the snapshots of a rootfs that were not used for longest, beyond `MAX_VARIANTS`. Those in a template's own size
 * do not count, and what a sandbox, a template made from one or a process needs is kept.
 *
 * @returns what was removed.
 */
export async function pruneVariants(home: KilnHome, key: string): Promise<SnapshotManifest[]> {
  const [snapshots, own, { records }] = await Promise.all([
    snapshotsOf(home, key),
    sizesOf(home, key),
    readRecords(home),
  ]);
  const variants = snapshots.filter(({ subject }) => !own.has(`${subject.vcpu} ${subject.memoryMib}`));
  if (variants.length <= MAX_VARIANTS) return [];
  await using _stopped = await stopUses(home);
  const needed = [...(await referenced(home, records)), ...(await readUses(home))];
  const aged = await Promise.all(
    variants.map(async (manifest) => ({ manifest, usedMs: await lastUsed(home, manifest.key) })),
  );
  const surplus = aged.sort((a, b) => b.usedMs - a.usedMs).slice(MAX_VARIANTS);
  const removed: SnapshotManifest[] = [];
  for (const { manifest, usedMs } of surplus) {
    const folder = relative(home.root, home.snapshot(manifest.key));
    const inUse = needed.some((name) => name === folder || name.startsWith(`${folder}/`));
    if (inUse || Date.now() - usedMs < RECENT_MS) continue;
    await removeSnapshot(home, manifest.key);
    removed.push(manifest);
  }
  return removed;
}

/** When a sandbox started from a snapshot last, else when it was made; milliseconds since 1970. */
async function lastUsed(home: KilnHome, snapshotKey: string): Promise<number> {
  const found = await stat(snapshotPaths(home.snapshot(snapshotKey)).manifest).catch(() => undefined);
  return found?.mtimeMs ?? 0;
}

/** Sizes of the templates whose rootfs is `key`, as "vcpu memory". */
async function sizesOf(home: KilnHome, key: string): Promise<Set<string>> {
  const sizes = new Set<string>();
  for (const { name } of await listTemplates(home)) {
    try {
      const spec = await resolveTemplate(home, name);
      if ((await rootfsKey(home, spec)) === key) sizes.add(`${spec.vcpu} ${spec.memory_mib}`);
    } catch (error) {
      if (!(error instanceof KilnError)) throw error; // A broken spec has no size.
    }
  }
  return sizes;
}
