import { access } from "node:fs/promises";
import { join } from "node:path";
import { tryPodman } from "./podman.ts";
import { makeStoreFolders, type PodmanStore } from "./podman-store.ts";

/**
 * The store with the driver that works here. Without a configuration file podman takes `vfs` when it is not root,
 * which copies the whole image for every step; the kernel's own overlay works without root since Linux 5.13. Which
 * one a storage was made with shows in its folders, so this is found out once.
 */
export async function withStorageDriver(store: PodmanStore, signal?: AbortSignal): Promise<PodmanStore> {
  const made = async (driver: string) =>
    access(join(store.root, `${driver}-images`)).then(
      () => true,
      () => false,
    );
  const overlay: PodmanStore = { ...store, driver: "overlay" };
  const other: PodmanStore = { ...store, driver: undefined };
  if (await made("overlay")) return overlay;
  if (await made("vfs")) return other;
  await makeStoreFolders(store);
  const { exitCode } = await tryPodman(overlay, ["info"], signal ? { signal } : {});
  return exitCode === 0 ? overlay : other;
}
