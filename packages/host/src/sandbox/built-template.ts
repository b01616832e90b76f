import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { findRootfs, type Rootfs } from "../build/rootfs.ts";
import { readRootfsRecord } from "../build/rootfs-record.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { removeFolder } from "../os/owned-folder.ts";
import { removeSnapshot, snapshotsOf } from "../snapshot/cache.ts";
import type { SnapshotManifest } from "../snapshot/manifest.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { listTemplates, resolveTemplate } from "../template/templates.ts";

/** What has been built from a template. */
export interface BuiltTemplate {
  rootfs: Rootfs;
  /** One for each size and engine a sandbox was asked for. */
  snapshots: SnapshotManifest[];
}

/** What has been built from `spec`, or undefined. Builds nothing. */
export async function findBuilt(home: KilnHome, spec: TemplateSpec): Promise<BuiltTemplate | undefined> {
  const rootfs = await findRootfs(home, spec);
  return rootfs && { rootfs, snapshots: await snapshotsOf(home, rootfs.key) };
}

/** What removing a template's built parts removed. */
export interface Removed {
  /** Keys. */
  snapshots: string[];
  rootfs: string | undefined;
  /** Names of the templates the root file system is kept for. */
  sharedWith: string[];
}

/**
 * Removes what was built from `spec`, but for a root file system that another template has as well or is a layer on. Snapshots go
 * first: none is ever without its root file system. Running sandboxes go on.
 */
export async function removeBuilt(home: KilnHome, spec: TemplateSpec): Promise<Removed> {
  const built = await findBuilt(home, spec);
  if (!built) return { snapshots: [], rootfs: undefined, sharedWith: [] };
  const { key } = built.rootfs;
  const sharedWith = [...(await templatesOf(home, key, spec.name)), ...(await heirsOf(home, key))];
  if (sharedWith.length > 0) return { snapshots: [], rootfs: undefined, sharedWith };
  for (const snapshot of built.snapshots) await removeSnapshot(home, snapshot.key);
  await removeFolder(home, home.rootfs(key));
  return { snapshots: built.snapshots.map(({ key }) => key), rootfs: key, sharedWith: [] };
}

/** What of a rootfs nobody else has, if it is not the root of others: its file, or its layer on those of its parent. */
export const ownPart = ({ path, layers }: Rootfs): string => layers.at(-1) ?? path;

/** Names that the rootfs were built for which are layers on `rootfsKey`. */
async function heirsOf(home: KilnHome, rootfsKey: string): Promise<string[]> {
  const keys = await readdir(join(home.root, "rootfs")).catch(() => []);
  const records = await Promise.all(keys.map((key) => readRootfsRecord(home, key)));
  return records.filter((record) => record?.parent === rootfsKey).map((record) => String(record?.spec.name));
}

/** Names of the templates but `except` whose root file system is `rootfsKey`. */
async function templatesOf(home: KilnHome, rootfsKey: string, except: string): Promise<string[]> {
  const names: string[] = [];
  for (const { name } of await listTemplates(home)) {
    if (name === except) continue;
    try {
      const rootfs = await findRootfs(home, await resolveTemplate(home, name));
      if (rootfs?.key === rootfsKey) names.push(name);
    } catch (error) {
      if (!(error instanceof KilnError)) throw error; // A broken spec has nothing built.
    }
  }
  return names;
}
