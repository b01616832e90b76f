import { readdir } from "node:fs/promises";
import type { KilnHome } from "../home.ts";
import { removeFolder } from "../os/owned-folder.ts";
import { readManifest, type SnapshotManifest } from "./manifest.ts";

/** The snapshots made from the rootfs `rootfsKey`. */
export async function snapshotsOf(home: KilnHome, rootfsKey: string): Promise<SnapshotManifest[]> {
  const keys = await readdir(home.snapshots).catch(() => []);
  const manifests = await Promise.all(keys.map((key) => readManifest(home, key)));
  return manifests
    .filter((manifest) => manifest?.subject.rootfs === rootfsKey)
    .filter((manifest) => manifest !== undefined);
}

/** Removes a snapshot. VMs that were resumed from it go on: they have its files open. */
export function removeSnapshot(home: KilnHome, key: string): Promise<void> {
  return removeFolder(home, home.snapshot(key));
}
