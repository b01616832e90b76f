import type { KilnHome } from "../home.ts";
import { type OwnedFolder, openOwnedFolder, sweepOwnedFolders } from "./owned-folder.ts";

/** A folder for half-made things, on the same file system as the caches so that it can be renamed into one. */
export type Scratch = OwnedFolder;

export function openScratch(home: KilnHome): Promise<Scratch> {
  return openOwnedFolder(home.tmp);
}

/** Removes the scratch folders of processes that are gone. */
export function sweepScratch(home: KilnHome): Promise<void> {
  return sweepOwnedFolders(home.tmp);
}
