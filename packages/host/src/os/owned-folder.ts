import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { isAlive, ownProcessId } from "./process-id.ts";

/** A folder that goes away with the process it was made for: on disposal, or at the next sweep after a crash. */
export interface OwnedFolder extends AsyncDisposable {
  readonly path: string;
}

/** Makes `<process id>.<random>/` in `parent`. The name tells the owner, so that making it is one step. */
export async function openOwnedFolder(parent: string): Promise<OwnedFolder> {
  const path = join(parent, `${ownProcessId()}.${randomBytes(4).toString("hex")}`);
  await mkdir(path, { recursive: true, mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Removes the folders in `parent` whose owners are gone. One in which something is mounted still is left to the next sweep. */
export async function sweepOwnedFolders(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    const owner = name.split(".")[0] ?? "";
    if (isAlive(owner)) continue;
    await rm(join(parent, name), { recursive: true, force: true }).catch((error: unknown) => {
      if (systemErrorCode(error) !== "EBUSY") throw error;
    });
  }
}

/** Removes a folder of the caches in one step as far as others can see: it is gone whole, or still there whole. */
export async function removeFolder(home: KilnHome, path: string): Promise<void> {
  await using grave = await openOwnedFolder(home.tmp);
  try {
    await rename(path, join(grave.path, "removed"));
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
}
