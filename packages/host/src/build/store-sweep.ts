import { mkdir } from "node:fs/promises";
import { lockFile, tryLockFile } from "../os/file-lock.ts";
import { runPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

/** Holds off the removal of leftovers while a build runs; many builds hold it at once. */
export async function useStore(store: PodmanStore, signal?: AbortSignal): Promise<AsyncDisposable> {
  await mkdir(store.root, { recursive: true, mode: 0o700 });
  return lockFile(store.home.lock("containers"), signal, { shared: true });
}

/**
 * Removes the working containers of builds that were killed. Does nothing while another build runs: its containers
 * look the same, and the next sweep comes with the next build.
 */
export async function sweepStore(store: PodmanStore): Promise<void> {
  await mkdir(store.root, { recursive: true, mode: 0o700 });
  await using lock = await tryLockFile(store.home.lock("containers"));
  if (lock === undefined) return;
  const { stdout } = await runPodman(store, ["ps", "--all", "--external", "--quiet", "--no-trunc"]);
  const ids = stdout.split("\n").filter((line) => /^[0-9a-f]{64}$/.test(line));
  if (ids.length > 0) await runPodman(store, ["rm", "--force", ...ids]);
}
