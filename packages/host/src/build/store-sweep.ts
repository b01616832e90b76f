import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { KilnError, systemErrorCode } from "../errors.ts";
import { lockFile, tryLockFile } from "../os/file-lock.ts";
import { type OwnedFolder, openOwnedFolder } from "../os/owned-folder.ts";
import { isRoot, runPodman, tryInStore, tryPodman } from "./podman.ts";
import { makeStoreFolders, type PodmanStore } from "./podman-store.ts";

/** Where the process that holds podman's user namespace is named, below XDG_RUNTIME_DIR. */
const PAUSE_PID = "libpod/tmp/pause.pid";

/** Holds off the removal of leftovers while a build runs; many builds hold it at once. */
export async function useStore(store: PodmanStore, signal?: AbortSignal): Promise<AsyncDisposable> {
  return lockFile(store.home.lock("containers"), signal, { shared: true });
}

/**
 * Removes what builds that were killed have left: working containers, files of other users' ids, and, without root,
 * the process that holds podman's user namespace. Does nothing while another build runs: its things look the same,
 * and the next sweep comes with its end.
 */
export async function sweepStore(store: PodmanStore): Promise<void> {
  await makeStoreFolders(store);
  await using lock = await tryLockFile(store.home.lock("containers"));
  if (lock === undefined) return;
  const ids = await listContainers(store);
  if (ids.length > 0) await runPodman(store, ["rm", "--force", ...ids]);
  await removeTree(store, workFolders(store));
  if (!isRoot) await endPause(store);
}

/**
 * A folder for podman's temporary files. Without root they may belong to subordinate ids, or have modes that keep out
 * even their owner, so it is not among the scratch folders, which anybody can remove.
 */
export async function openWorkFolder(store: PodmanStore): Promise<OwnedFolder> {
  const { path } = await openOwnedFolder(workFolders(store));
  return { path, [Symbol.asyncDispose]: () => removeTree(store, path) };
}

const workFolders = ({ root }: PodmanStore) => join(root, "work");

async function listContainers(store: PodmanStore): Promise<string[]> {
  const list = ["ps", "--all", "--external", "--quiet", "--no-trunc"];
  let result = await tryPodman(store, list);
  if (result.exitCode !== 0 && result.stderr.includes("database")) {
    // Podman's database has absolute paths and refuses a KILN_HOME that was moved; images are not in it.
    await removeTree(store, join(store.root, "libpod"));
    result = await runPodman(store, list);
  }
  return result.stdout.split("\n").filter((line) => /^[0-9a-f]{64}$/.test(line));
}

/** Removes a folder that may hold files of the subordinate ids of this user. */
async function removeTree(store: PodmanStore, path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (isRoot || !["EACCES", "EPERM"].includes(systemErrorCode(error) ?? "")) throw error;
    const { exitCode, stderr } = await tryInStore(store, "rm", ["-rf", path]);
    if (exitCode !== 0) throw new KilnError("INTERNAL", `cannot remove ${path}: ${stderr}`, { cause: error });
  }
}

async function endPause({ runroot }: PodmanStore): Promise<void> {
  const path = join(runroot, PAUSE_PID);
  const pid = Number(await readFile(path, "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 1) return;
  // The pid may belong to something else by now: podman's process says what it is.
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  if (!/^(?:\S*\/)?(?:podman|catatonit)\b/.test(command)) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (systemErrorCode(error) !== "ESRCH" && systemErrorCode(error) !== "EPERM") throw error;
  }
  await rm(path, { force: true });
}
