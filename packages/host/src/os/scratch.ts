import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { KilnHome } from "../home.ts";
import { isAlive, ownProcessId } from "./process-id.ts";

/** A folder for half-made things that goes away with its owner: on disposal, or at the next sweep after a crash. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/** Makes `tmp/<process id>.<random>/` below `home`. On the same file system as the caches, so it can be renamed into one. */
export async function openScratch(home: KilnHome): Promise<Scratch> {
  const path = join(home.tmp, `${await ownProcessId()}.${randomBytes(6).toString("hex")}`);
  await mkdir(path, { recursive: true, mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Removes the scratch folders of processes that are gone. */
export async function sweepScratch(home: KilnHome): Promise<void> {
  for (const name of await readdir(home.tmp).catch(() => [])) {
    const owner = name.split(".")[0] ?? "";
    if (!(await isAlive(owner))) await rm(join(home.tmp, name), { recursive: true, force: true });
  }
}
