import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import type { KilnHome } from "../home.ts";
import { isLazy } from "../lazy/lazy-file.ts";
import { removeFolder } from "../os/owned-folder.ts";
import type { Pins } from "./pins.ts";
import type { SandboxRecord } from "./sandbox-record.ts";
import { listSavedTemplates } from "./saved-template.ts";

/** The name, below KILN_HOME, of a layer that does not exist yet. */
export function newLayer(): string {
  return join("layers", randomBytes(12).toString("hex"));
}

/** Whether a name, below KILN_HOME, is that of a sandbox's layer, not of a template's. */
export const isLayer = (name: string): boolean => name.startsWith("layers/");

/** The name, below KILN_HOME, of a folder for memory and device state that does not exist yet. */
export function newSaved(): string {
  return join("saved", randomBytes(12).toString("hex"));
}

/** Everything that a record or a template made from a sandbox needs, as names below KILN_HOME. */
export async function referenced(home: KilnHome, records: Iterable<SandboxRecord>): Promise<Set<string>> {
  const names = new Set<string>();
  for (const { state, source, disk, kernel } of records) {
    if (state === "dead") continue;
    for (const name of [...disk.layers, disk.diff, disk.base, kernel.vmlinuz, kernel.initrd]) names.add(name);
    if (disk.nextDiff !== undefined) names.add(disk.nextDiff);
    // A running VM has its memory file mapped and needs the name no more; who fetches what is missing of it does.
    if (state !== "running" || isLazy(join(home.root, source.folder, "memory"))) names.add(source.folder);
  }
  for (const template of await listSavedTemplates(home)) {
    const { layers, source, base, kernel } = template;
    for (const name of [...layers, source.folder, base, kernel.vmlinuz, kernel.initrd]) names.add(name);
  }
  return names;
}

/** Removes those of `names` (below layers/ and saved/) that nothing needs; `pinned` are needed besides. */
export async function release(
  home: KilnHome,
  names: Iterable<string>,
  records: Iterable<SandboxRecord>,
  pinned?: Pins,
): Promise<void> {
  const needed = await referenced(home, records);
  for (const name of names) {
    if (needed.has(name) || pinned?.has(name) || !(isLayer(name) || name.startsWith("saved/"))) continue;
    await removeFolder(home, join(home.root, name));
  }
}

/** Removes every layer and saved memory that nothing needs: what a crash left behind. */
export async function sweepStorage(home: KilnHome, records: readonly SandboxRecord[]): Promise<void> {
  const names: string[] = [];
  for (const folder of [home.layers, home.saved]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) names.push(relative(home.root, join(folder, name)));
  }
  await release(home, names, records);
}

/** Removes a sandbox's own folder. */
export async function removeSandboxFolder(home: KilnHome, id: string): Promise<void> {
  // The record first: a folder without one is what the next start removes.
  await rm(join(home.sandbox(id), "sandbox.json"), { force: true });
  await rm(home.sandbox(id), { recursive: true, force: true });
}
