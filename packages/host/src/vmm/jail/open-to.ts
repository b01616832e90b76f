import { statSync } from "node:fs";
import { chmod } from "node:fs/promises";

/** Bits of a mode, for users that are neither owner nor in the group. */
export const Access = { enter: 0o001, read: 0o004, readAndWrite: 0o006 } as const;

/**
 * Opens a file or folder to every user, for VMMs that are users of their own. What is opened so lies in folders which only their owner can
 * enter: it is out of reach for everybody who does not see it in a view of his own. Looked at at once: it is in use, and a pool of threads takes ten
 * times the processor time.
 */
export async function openTo(path: string, access: number): Promise<void> {
  const { mode } = statSync(path);
  if ((mode & access) !== access) await chmod(path, (mode & 0o7777) | access);
}
