import { chmod, chown, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { SnapshotFiles, VmConfig } from "../vmm.ts";
import type { Jail } from "./jail.ts";
import type { StartMode, View } from "./view.ts";

const ENTER = 0o001;
const READ = 0o004;
const READ_AND_WRITE = 0o006;

/**
 * Lets QEMU, which may be a user of its own, use what it has to use. What all VMs share is opened to everybody: its folders, which only
 * their owner can enter, keep out everybody who does not see it in a view of his own.
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
  await openTo(dirname(disk.socketPath), ENTER);
  await openTo(disk.socketPath, READ_AND_WRITE);
  if (mode === "restore") await openTo(files.memory, memory.readOnly ? READ : READ_AND_WRITE);
  else await Promise.all([openTo(kernel.vmlinuz, READ), openTo(kernel.initrd, READ)]);
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

async function openTo(path: string, access: number): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & access) !== access) await chmod(path, (mode & 0o7777) | access);
}
