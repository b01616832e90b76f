import { chmod, chown, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Jail } from "../jail/jail.ts";
import { Access, openTo } from "../jail/open-to.ts";
import type { SnapshotFiles, VmConfig } from "../vmm.ts";
import type { StartMode, View } from "./view.ts";

/**
 * Lets QEMU, which may be a user of its own, use what it has to use. What all VMs share is opened to everybody.
 */
export async function letUse(
  { uid }: Jail,
  { memory }: View,
  { kernel, disk, memoryMib }: VmConfig,
  files: SnapshotFiles,
  mode: StartMode,
): Promise<void> {
  if (mode === "boot") await createMemory(files.memory, memoryMib, uid);
  if (uid === undefined) return;
  await openTo(dirname(disk.socketPath), Access.enter);
  await openTo(disk.socketPath, Access.readAndWrite);
  if (mode === "restore") await openTo(files.memory, memory.readOnly ? Access.read : Access.readAndWrite);
  else await Promise.all([openTo(kernel.vmlinuz, Access.read), openTo(kernel.initrd, Access.read)]);
}

async function createMemory(path: string, memoryMib: number, uid: number | undefined): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  await file.truncate(memoryMib * 1024 * 1024);
  if (uid !== undefined) await file.chown(uid, uid);
}

/** Makes a memory file that a QEMU has written this user's own again. */
export async function keepFrom(memory: string): Promise<void> {
  await chown(memory, process.geteuid?.() ?? -1, process.getegid?.() ?? -1);
  await chmod(memory, 0o600);
}
