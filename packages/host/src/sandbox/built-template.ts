import { findRootfs, type Rootfs } from "../build/rootfs.ts";
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
 * Removes what was built from `spec`, but for a root file system that another template has as well. Snapshots go
 * first: none is ever without its root file system. Running sandboxes go on.
 */
export async function removeBuilt(home: KilnHome, spec: TemplateSpec): Promise<Removed> {
  const built = await findBuilt(home, spec);
  if (!built) return { snapshots: [], rootfs: undefined, sharedWith: [] };
  const sharedWith = await templatesOf(home, built.rootfs.key, spec.name);
  if (sharedWith.length > 0) return { snapshots: [], rootfs: undefined, sharedWith };
  for (const { key } of built.snapshots) await removeSnapshot(home, key);
  await removeFolder(home, home.rootfs(built.rootfs.key));
  return { snapshots: built.snapshots.map(({ key }) => key), rootfs: built.rootfs.key, sharedWith: [] };
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
