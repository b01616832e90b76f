import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KilnError, systemErrorCode } from "../../errors.ts";
import { isAlive, ownProcessId } from "../../os/process-id.ts";

/** In a diff's folder while it is open for writing: the process that writes to it. */
const OWNER_FILE = "owner";

/**
 * Makes this process the only one that writes to the diff in `directory`, until `release`. What a killed process left
 * behind counts for nothing: the file names the process and its start time.
 *
 * @throws KilnError `BLOCK_FAILED` when another living process writes to it.
 */
export async function ownDiff(directory: string): Promise<{ release(): void }> {
  const path = join(directory, OWNER_FILE);
  const self = ownProcessId();
  const mine = `${path}.${self}`;
  writeFileSync(mine, self, { mode: 0o600 });
  try {
    // A link is made whole or not at all, and never over another one.
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        linkSync(mine, path);
        return { release: () => rmSync(path, { force: true }) };
      } catch (error) {
        if (systemErrorCode(error) !== "EEXIST") throw error;
      }
      const owner = readOwner(path);
      if (owner !== undefined && (owner === self || isAlive(owner))) break;
      if (!removeStale(path, `${mine}.stale`, owner)) break;
    }
  } finally {
    unlinkSync(mine);
  }
  throw new KilnError("BLOCK_FAILED", `${directory}: another process is writing to this diff`, {
    hint: "remove the disk from the other block server first",
  });
}

/** Removes a dead owner's file. False: another process was quicker, and what is there now is its own. */
function removeStale(path: string, aside: string, owner: string | undefined): boolean {
  try {
    renameSync(path, aside);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return true;
    throw error;
  }
  const stale = readOwner(aside) === owner;
  if (!stale) linkSync(aside, path);
  unlinkSync(aside);
  return stale;
}

function readOwner(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
