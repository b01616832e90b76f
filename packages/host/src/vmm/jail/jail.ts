import { statSync } from "node:fs";
import { chmod, chown } from "node:fs/promises";
import type { Isolation } from "./isolation.ts";
import type { LauncherLine } from "./launcher.ts";

/** First of the user ids that VMs run as: above those that systemd and container engines give away. */
const FIRST_UID = 0x7000_0000;
const UIDS = 0x0100_0000;

/** No file can grow beyond that by a VM that goes on from a snapshot, in bytes: its log is one, and a guest can make the VMM talk without end. */
const FILE_LIMIT_BYTES = 128 * 1024;
const OPEN_FILES = 256;
/** Address space beyond guest memory: programs, threads' stacks, translated code. Far above what is used. */
export const OVERHEAD_MIB = 2048;
const MIB = 1024 * 1024;
/** Numbers of resource limits in <asm-generic/resource.h>. */
const Limit = { fileBytes: 1, coreBytes: 4, openFiles: 7, addressBytes: 9 } as const;
/** What stands for no limit: all bits are set. */
const UNLIMITED = "18446744073709551615";

/** Something of the host that a VMM sees. */
export interface Visible {
  /** On the host. */
  source: string;
  /** In its view; not below another one's. */
  target: string;
  kind: "file" | "directory";
}

/** What a VMM sees and runs as. */
export interface Jail {
  /** Folder of the VM on the host. */
  directory: string;
  isolation: Isolation;
  /** User id it runs as, if it has one of its own. */
  uid: number | undefined;
  /** The group that may use KVM. */
  groups: readonly number[];
  /** What it sees beside what every VMM does. */
  visible: readonly Visible[];
}

/** The user id of the VM in `directory`: folders that exist at the same time have different numbers. */
export function uidOf(directory: string): number {
  return FIRST_UID + (statSync(directory).ino % UIDS);
}

/** Finds out what it takes to lock up the VMM in `directory`, and gives it that folder: `takeBack` ends that before the guest runs. */
export async function prepareJail(
  directory: string,
  isolation: Isolation,
  visible: readonly Visible[],
): Promise<Jail> {
  const groups = groupsOf(visible);
  const uid = isolation.ownUser ? uidOf(directory) : undefined;
  // The VMM makes its sockets in there.
  if (uid !== undefined) await chown(directory, uid, uid);
  return { directory, isolation, uid, groups, visible };
}

/** What a user of its own needs to use a device that its group may use. */
function groupsOf(visible: readonly Visible[]): number[] {
  const devices = visible.filter(({ target }) => target.startsWith("/dev/"));
  return devices.map(({ source }) => statSync(source).gid);
}

/** The VM's folder as its VMM sees it. */
export const VM_FOLDER = "/vm";

export interface LockOptions {
  /** Guest memory, to limit the VMM's by; 0 for no limit. */
  memoryMib: number;
  /** Whether it has to write files of any size. @default false */
  writesFiles?: boolean;
}

/** What a launcher is told to lock up its VMM in the jail: no core dumps, few files, no large ones, and only so much memory. */
export function lockUp(
  { directory, isolation, uid, groups, visible }: Jail,
  { memoryMib, writesFiles = false }: LockOptions,
): LauncherLine[] {
  return [
    ...(isolation.ownView
      ? [...visible, { source: directory, target: VM_FOLDER, kind: "directory" }].map(
          ({ kind, source, target }): LauncherLine => ["show", kind, source, target],
        )
      : []),
    ["limit", Limit.coreBytes, 0],
    ["limit", Limit.openFiles, OPEN_FILES],
    ["limit", Limit.addressBytes, memoryMib === 0 ? UNLIMITED : (memoryMib + OVERHEAD_MIB) * MIB],
    ["limit", Limit.fileBytes, writesFiles ? UNLIMITED : FILE_LIMIT_BYTES],
    ...(uid === undefined ? [] : [["user", uid, groups[0] ?? uid]]),
  ];
}

/** Makes the VM's folder the host's again: from here on the VMM can neither make nor replace a name in it. */
export async function takeBack({ directory, uid }: Jail): Promise<void> {
  if (uid === undefined) return;
  await Promise.all([
    chown(directory, process.geteuid?.() ?? 0, process.getegid?.() ?? 0),
    // The VMM has to find the sockets in there still; who else could is kept out by the folders above.
    chmod(directory, 0o711),
  ]);
}
