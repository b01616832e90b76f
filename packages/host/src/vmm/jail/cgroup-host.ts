import { access, constants, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

const CONTROLLERS = ["memory", "pids", "cpu"] as const;
type Controller = (typeof CONTROLLERS)[number];

/** Where this process can make control groups. */
export interface CgroupHost {
  /** Of the kernel's interface (cgroups(7)). */
  version: 1 | 2;
  /** The folder that groups with a controller are made in: one for all with version 2. */
  parents: Record<Controller, string>;
}

/** A hierarchy as it is mounted. */
interface Hierarchy {
  folder: string;
  /** The group that is seen there. */
  root: string;
  /** None for version 2. */
  controllers: readonly string[] | undefined;
}

let found: Promise<CgroupHost | string> | undefined;

/**
 * Finds out, once a process, where control groups can be made, or why none can, one sentence.
 *
 * Version 1: in the groups that this process is in. Version 2, where a group has either processes or groups with limits in it: beside the one that
 * this process is in. A service that was given its unit's group and is itself in one below that (systemd's `Delegate=`, `DelegateSubgroup=`) so
 * stays within it. Limits of the groups above hold for VMs as well.
 */
export function findCgroups(): Promise<CgroupHost | string> {
  found ??= findOut();
  return found;
}

/** The folders of the groups that a process is in, as far as they are mounted. */
export async function cgroupsOf(pid: number | "self"): Promise<string[]> {
  const own = await groupsOf(pid, await hierarchies());
  return [...own].map(([, folder]) => folder);
}

async function findOut(): Promise<CgroupHost | string> {
  const own = await groupsOf("self", await hierarchies());
  const reasons: string[] = [];
  for (const attempt of [tryVersion2, tryVersion1]) {
    try {
      return await attempt(own);
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  return reasons.join("; ");
}

async function tryVersion2(own: ReadonlyMap<Hierarchy, string>): Promise<CgroupHost> {
  const [mounted, folder] = [...own].find(([{ controllers }]) => controllers === undefined) ?? [];
  if (mounted === undefined || folder === undefined) throw new Error("version 2 is not mounted");
  const parent = folder === mounted.folder ? folder : dirname(folder);
  const words = async (file: string) => (await readFile(join(parent, file), "utf8")).split(/\s+/);
  const there = await words("cgroup.controllers");
  const missing = CONTROLLERS.filter((name) => !there.includes(name));
  if (missing.length > 0) throw new Error(`version 2 has no ${missing.join(", ")} in ${parent}`);
  await access(parent, constants.W_OK);
  const enabled = await words("cgroup.subtree_control");
  const wanted = CONTROLLERS.filter((name) => !enabled.includes(name));
  if (wanted.length > 0) {
    await writeFile(join(parent, "cgroup.subtree_control"), wanted.map((name) => `+${name}`).join(" "));
  }
  return { version: 2, parents: { memory: parent, pids: parent, cpu: parent } };
}

async function tryVersion1(own: ReadonlyMap<Hierarchy, string>): Promise<CgroupHost> {
  const parentOf = async (name: Controller) => {
    const folder = [...own].find(([{ controllers }]) => controllers?.includes(name))?.[1];
    if (folder === undefined) throw new Error(`version 1 has no ${name}`);
    await access(folder, constants.W_OK);
    return folder;
  };
  const [memory, pids, cpu] = await Promise.all([parentOf("memory"), parentOf("pids"), parentOf("cpu")]);
  return { version: 1, parents: { memory, pids, cpu } };
}

/** Every hierarchy that is mounted (proc(5), /proc/PID/mountinfo). */
async function hierarchies(): Promise<Hierarchy[]> {
  const lines = (await readFile("/proc/self/mountinfo", "utf8")).trimEnd().split("\n");
  return lines.flatMap((line): Hierarchy[] => {
    const [place = "", kind = ""] = line.split(" - ");
    const [, , , root = "", folder = ""] = place.split(" ").map(decodeOctal);
    const [type, , options = ""] = kind.split(" ");
    if (type === "cgroup2") return [{ root, folder, controllers: undefined }];
    return type === "cgroup" ? [{ root, folder, controllers: options.split(",") }] : [];
  });
}

/** Blanks in a path are octal there. */
const decodeOctal = (word: string): string =>
  word.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** The group of a process in each hierarchy that shows it (cgroups(7), /proc/PID/cgroup). */
async function groupsOf(
  pid: number | "self",
  mounted: readonly Hierarchy[],
): Promise<Map<Hierarchy, string>> {
  const lines = (await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "")).trimEnd().split("\n");
  const groups = new Map<Hierarchy, string>();
  for (const line of lines) {
    const [, number, names = "", path = ""] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    const hierarchy = mounted.find(({ controllers }) =>
      number === "0" ? controllers === undefined : controllers?.includes(names.split(",")[0] ?? ""),
    );
    const below = hierarchy && relative(hierarchy.root, path);
    if (hierarchy && below !== undefined && !below.startsWith(".."))
      groups.set(hierarchy, join(hierarchy.folder, below));
  }
  return groups;
}
