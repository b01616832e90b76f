import { chmod, chown, lstat, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Isolation } from "./isolation.ts";

/** First of the user ids that VMs run as: above those that systemd and container engines give away. */
const FIRST_UID = 0x7000_0000;
const UIDS = 0x0100_0000;

/** Blocks of 512 bytes beyond which no file can be written by a VM that goes on from a snapshot: its log is one. */
const FILE_LIMIT_BLOCKS = 256;
const OPEN_FILES = 256;
/** Address space beyond guest memory: programs, threads' stacks, translated code. Far above what is used. */
export const OVERHEAD_MIB = 2048;

/**
 * Sets limits and becomes another program. No core dumps; few files; no file grows beyond a limit, so that a guest which makes
 * the VMM talk without end does not fill the disk: writes fail then, and the signal that comes with that is ignored.
 */
const LIMITS = `ulimit -c 0; ulimit -n ${OPEN_FILES}; ulimit -v "$1"; ulimit -f "$2"; trap '' XFSZ`;
const START = `${LIMITS}; shift 2; exec "$@"`;
const START_WITH_VIEW = `mount -a -T "$3" || exit; ${LIMITS}; shift 3; exec "$@"`;

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
}

const ALWAYS_VISIBLE: readonly Visible[] = [
  { source: "/usr", target: "/usr", kind: "directory" },
  { source: "/etc/ld.so.cache", target: "/etc/ld.so.cache", kind: "file" },
  { source: "/dev/null", target: "/dev/null", kind: "file" },
  { source: "/dev/urandom", target: "/dev/urandom", kind: "file" },
];

const rootOf = (directory: string): string => join(directory, "root");
const mountsOf = (directory: string): string => join(directory, "mounts");

/** The user id of the VM in `directory`: folders that exist at the same time have different numbers. */
export async function uidOf(directory: string): Promise<number> {
  return FIRST_UID + ((await stat(directory)).ino % UIDS);
}

/**
 * Makes what a view of its own needs in the VM's folder: an empty tree, and the list of what is put in its places once the VMM is in a mount
 * namespace of its own. On the host that tree stays empty, so that removing the folder removes nothing else.
 */
export async function prepareJail(
  directory: string,
  isolation: Isolation,
  visible: readonly Visible[],
): Promise<Jail> {
  const groups = await groupsOf(visible);
  const uid = isolation.ownUser ? await uidOf(directory) : undefined;
  if (!isolation.ownView) return { directory, isolation, uid, groups };
  const root = rootOf(directory);
  const all = [
    ...ALWAYS_VISIBLE,
    ...visible,
    { source: directory, target: VM_FOLDER, kind: "directory" as const },
  ];
  const folders = new Set(all.map(({ target }) => join(root, dirname(target))));
  await Promise.all([...folders].map((folder) => mkdir(folder, { recursive: true })));
  await Promise.all([
    ...all.map(({ target, kind }) =>
      kind === "directory" ? mkdir(join(root, target)) : writeFile(join(root, target), ""),
    ),
    ...["bin", "sbin", "lib", "lib64"].map((name) => linkLikeHost(root, name)),
    writeFile(
      mountsOf(directory),
      all
        .map(({ source, target }) => `${fstabWord(source)} ${fstabWord(join(root, target))} none bind 0 0\n`)
        .join(""),
    ),
  ]);
  // The VMM makes its sockets in there; `takeBack` ends that before the guest runs.
  if (uid !== undefined) await chown(directory, uid, uid);
  return { directory, isolation, uid, groups };
}

/** What a user of its own needs to use a device that its group may use. */
async function groupsOf(visible: readonly Visible[]): Promise<number[]> {
  const devices = visible.filter(({ target }) => target.startsWith("/dev/"));
  return Promise.all(devices.map(async ({ source }) => (await stat(source)).gid));
}

/** The VM's folder as its VMM sees it. */
export const VM_FOLDER = "/vm";

/** `/lib64` and the like, which are links into `/usr` on every system of today. */
async function linkLikeHost(root: string, name: string): Promise<void> {
  const host = await lstat(join("/", name)).catch(() => undefined);
  if (host?.isSymbolicLink()) await symlink(`usr/${name}`, join(root, name));
}

/** fstab(5) separates by white space. */
const fstabWord = (path: string): string =>
  path.replace(/[\\ \t\n#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);

export interface EnterOptions {
  /** Whether it ends with the process that starts it. */
  diesWithOwner: boolean;
  /** Guest memory, to limit the VMM's by; 0 for no limit. */
  memoryMib: number;
  /** Whether it has to write files of any size. */
  writesFiles?: boolean;
  /** A process whose network namespace it is to be in. @default one of its own, with nothing in it */
  networkOf?: number;
}

/**
 * Command words that start `binary` in the jail, each program becoming the next, so that the process is the VMM's in the end: unshare(1)
 * for namespaces, sh for what is in them, unshare for the root and the user, setpriv(1) where there is more to set.
 * Each of them costs the start of a VM a millisecond.
 */
export function enterJail(
  { directory, isolation, uid, groups }: Jail,
  binary: string,
  args: readonly string[],
  { diesWithOwner, memoryMib, writesFiles = false, networkOf }: EnterOptions,
): [string, string[]] {
  const limits = [
    memoryMib === 0 ? "unlimited" : String((memoryMib + OVERHEAD_MIB) * 1024),
    writesFiles ? "unlimited" : String(FILE_LIMIT_BLOCKS),
  ];
  const dies = diesWithOwner ? ["--pdeathsig", "KILL"] : [];
  // A user of its own has no rights to give up, and the VMM's system call filter keeps it from getting any.
  const privileges =
    uid === undefined ? ["--no-new-privs", "--inh-caps", "-all", "--bounding-set", "-all"] : [];
  const set = [...privileges, ...dies];
  const user = uid === undefined ? [] : ["--setgid", String(groups[0] ?? uid), "--setuid", String(uid)];
  const words = isolation.ownView
    ? [
        ...(networkOf === undefined ? [] : ["nsenter", `--net=/proc/${networkOf}/ns/net`, "--"]),
        ...[
          "unshare",
          ...(networkOf === undefined ? ["--net"] : []),
          ...(process.geteuid?.() === 0 ? [] : ["--user", "--map-root-user"]),
        ],
        ...["--mount", "--ipc", "--uts", "--propagation", "private", "--"],
        ...["/bin/sh", "-c", START_WITH_VIEW, "sh", ...limits, mountsOf(directory)],
        ...["unshare", "--root", rootOf(directory), "--wd", "/", ...user, "--"],
        ...(set.length === 0 ? [] : ["setpriv", ...set, "--"]),
        ...[binary, ...args],
      ]
    : ["/bin/sh", "-c", START, "sh", ...limits, binary, ...args];
  // Becoming another user ends the signal, so it is set again then. Without it an owner that dies now would leave this behind.
  const [command = "", ...rest] = diesWithOwner ? ["setpriv", ...dies, "--", ...words] : words;
  return [command, rest];
}

/** Makes the VM's folder the host's again: from here on the VMM can neither make nor replace a name in it. */
export async function takeBack({ directory, uid }: Jail): Promise<void> {
  if (uid === undefined) return;
  await chown(directory, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  // The VMM has to find the sockets in there still; who else could is kept out by the folders above.
  await chmod(directory, 0o711);
}
