import { execFile } from "node:child_process";
import { chown, link, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { KilnError, systemErrorCode } from "../../errors.ts";
import { syncDirectory } from "../../os/atomic-file.ts";
import type { SnapshotFiles } from "../vmm.ts";
import type { FirecrackerApi } from "./api.ts";
import { saveRequest } from "./configuration.ts";
import { PATHS, pathsIn } from "./view.ts";

const run = promisify(execFile);

/**
 * Has a paused Firecracker write its memory and devices to `files`, which are on stable storage when this resolves; nothing is left of
 * them when it fails. `Diff` is for a machine that was booted: what it never touched stays a hole.
 * @throws KilnError `VM_FAILED`, `DISK_FULL`, `CANCELLED`.
 */
export async function saveFirecracker(
  { api, directory, pid, uid }: { api: FirecrackerApi; directory: string; pid: number; uid: number },
  files: SnapshotFiles,
  type: "Full" | "Diff",
  signal?: AbortSignal,
): Promise<void> {
  const cancelled = () =>
    new KilnError("CANCELLED", "cancelled while saving a VM", { cause: signal?.reason });
  if (signal?.aborted) throw cancelled();
  const { savedMemory, savedState } = pathsIn(directory);
  await using failed = new AsyncDisposableStack();
  {
    // Firecracker may make no files. It writes to these by names in its own folder.
    await using names = new AsyncDisposableStack();
    for (const [path, name] of [
      [files.memory, savedMemory],
      [files.state, savedState],
    ] as const) {
      await using file = await open(path, "wx", 0o600);
      failed.defer(() => rm(path, { force: true }));
      await file.chown(uid, uid);
      await rm(name, { force: true }); // Of an owner that was killed.
      await link(path, name);
      names.defer(() => rm(name, { force: true }));
    }
    // Until now it could write no more than a log.
    await run("prlimit", ["--pid", String(pid), "--fsize=unlimited"]);
    try {
      const { path, body } = saveRequest(type, PATHS);
      await api.put(path, body);
      // Firecracker cannot be made to stop in the middle of it.
      if (signal?.aborted) throw cancelled();
    } catch (error) {
      if (error instanceof Error && /No space left|os error 28|quota/i.test(error.message)) {
        throw new KilnError("DISK_FULL", "no room to save the VM's memory", { cause: error });
      }
      throw error;
    }
  }
  await chown(files.memory, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  await chown(files.state, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  if (type === "Full") await run("fallocate", ["--dig-holes", files.memory]).catch(keepHoles);
  for (const path of [files.memory, files.state]) {
    await using file = await open(path, "r");
    await file.sync();
  }
  await syncDirectory(dirname(files.memory));
  failed.move();
}

/** Zeros may take room on a file system that cannot do without them. */
function keepHoles(error: unknown): void {
  if (systemErrorCode(error) === "ENOENT") throw error;
}
