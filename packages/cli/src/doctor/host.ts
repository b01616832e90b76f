import { access, constants, mkdir, readFile, statfs } from "node:fs/promises";
import { arch, cpus, release, totalmem, userInfo } from "node:os";
import { findCommand } from "@kiln/host/os/find-command.ts";
import { formatBytes } from "../output/table.ts";

/** One thing that was looked at. */
export interface Check {
  name: string;
  /** `note`: works, but there is something to know. */
  status: "ok" | "note" | "fail";
  detail: string;
  /** What to do about it. */
  hint?: string;
}

/** Commands the host runs, the Debian package each is in, and what it is for. */
const COMMANDS = [
  { command: "podman", package: "podman", purpose: "builds templates", required: true },
  { command: "qemu-system-x86_64", package: "qemu-system-x86", purpose: "runs microVMs", required: true },
  { command: "setpriv", package: "util-linux", purpose: "ends VMs with their owner", required: true },
  { command: "flock", package: "util-linux", purpose: "locks the cache", required: true },
  {
    command: "mmdebstrap",
    package: "mmdebstrap",
    purpose: "makes the base image where no registry is in reach",
    required: false,
  },
] as const;

/** A template and its snapshot take about this much. */
const COMFORTABLE_BYTES = 5 * 1024 ** 3;

export function checkMachine(): Check {
  const model = cpus()[0]?.model ?? "unknown processor";
  const detail = `${arch()}, Linux ${release()}, ${cpus().length} × ${model}, ${formatBytes(totalmem())} of memory`;
  if (arch() === "x64") return { name: "machine", status: "ok", detail };
  return { name: "machine", status: "fail", detail, hint: "Kiln runs on x86-64 only, so far" };
}

export function checkNode(): Check {
  return { name: "node", status: "ok", detail: `${process.version} (${process.execPath})` };
}

export function checkCommands(): Check[] {
  return COMMANDS.map(({ command, package: name, purpose, required }) => {
    const path = findCommand(command);
    if (path !== undefined) return { name: command, status: "ok", detail: path };
    const detail = `not installed (${purpose})`;
    return { name: command, status: required ? "fail" : "note", detail, hint: `apt-get install ${name}` };
  });
}

/** What Podman needs to build without root: helpers, and a range of user ids to map. */
export async function checkUserIds(): Promise<Check[]> {
  const { uid, username } = userInfo();
  if (uid === 0) return [];
  const mapped = await Promise.all(
    ["/etc/subuid", "/etc/subgid"].map(async (file) => {
      const text = await readFile(file, "utf8").catch(() => "");
      return text.split("\n").some((line) => line.startsWith(`${username}:`) || line.startsWith(`${uid}:`));
    }),
  );
  const helper = findCommand("newuidmap");
  if (mapped.every(Boolean) && helper !== undefined) {
    return [
      { name: "user ids", status: "ok", detail: `${username} has a range in /etc/subuid and /etc/subgid` },
    ];
  }
  const hint =
    helper === undefined
      ? "apt-get install uidmap"
      : `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${username}`;
  return [
    {
      name: "user ids",
      status: "fail",
      detail: "Podman cannot map user ids, which building without root needs",
      hint,
    },
  ];
}

export async function checkDisk(root: string): Promise<Check> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await access(root, constants.W_OK);
    const { bavail, bsize } = await statfs(root);
    const free = bavail * bsize;
    const detail = `${root}, ${formatBytes(free)} free`;
    if (free >= COMFORTABLE_BYTES) return { name: "KILN_HOME", status: "ok", detail };
    const hint = `a few templates want ${formatBytes(COMFORTABLE_BYTES)}; KILN_HOME may be on another disk`;
    return { name: "KILN_HOME", status: "note", detail, hint };
  } catch (error) {
    const detail = `${root} cannot be written: ${error instanceof Error ? error.message : error}`;
    return { name: "KILN_HOME", status: "fail", detail, hint: "set KILN_HOME to a folder of yours" };
  }
}
