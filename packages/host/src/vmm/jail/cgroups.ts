import { closeSync, mkdirSync, openSync, write, writeFileSync } from "node:fs";
import { readdir, rmdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { KilnError, systemErrorCode } from "../../errors.ts";
import { type CgroupHost, cgroupsOf, findCgroups } from "./cgroup-host.ts";

/** What all VMs' groups begin with; what follows is the VM's folder. */
const PREFIX = "kiln-vm:";
/** Processes and threads that a VMM may be: processors, and what it does beside them. QEMU alone has up to 64 threads for its disk. */
const TASKS = 128;
/** Processors of the host that it may use beside those of its guest. */
const SPARE_CPUS = 1;
const CPU_PERIOD_US = 100_000;
/** What a process without a group has of a busy host; a VM has it for each processor that it may use. */
const CPU_WEIGHT = 100;
const V1_CPU_SHARES = 1024;
/** A process that was killed is in its group until its last thread is gone, in milliseconds. */
const REMOVAL_PATIENCE_MS = 2_000;
const LOOK_AGAIN_MS = 5;

const writeTo = promisify(write);

/** What a VM may use of its host. */
export interface CgroupLimits {
  /** All of it: the guest's, the VMM's own, and what the kernel holds for them. */
  memoryMib: number;
  /** Of the guest. */
  vcpu: number;
}

const nameOf = (directory: string): string =>
  PREFIX + directory.replaceAll("%", "%25").replaceAll("/", "%2F");

const parentsOf = (host: CgroupHost | string): string[] =>
  typeof host === "string" ? [] : [...new Set(Object.values(host.parents))];

const directoryOf = (name: string): string =>
  name.slice(PREFIX.length).replaceAll("%2F", "/").replaceAll("%25", "%");

/** The control groups of a VM: one, or with version 1 one for each controller, or none where the host lets Kiln make none. */
export class Cgroup {
  readonly #folders: readonly string[];

  private constructor(folders: readonly string[]) {
    this.#folders = folders;
  }

  /**
   * Makes those of the VM in `directory`. At once: their file system has no disk, and a pool of threads takes twice the processor time.
   * @throws KilnError `VM_FAILED`.
   */
  static async make(directory: string, limits: CgroupLimits): Promise<Cgroup> {
    const host = await findCgroups();
    if (typeof host === "string") return new Cgroup([]);
    const name = nameOf(directory);
    const cgroup = new Cgroup(parentsOf(host).map((parent) => join(parent, name)));
    try {
      for (const folder of cgroup.#folders) mkdirSync(folder, { recursive: true });
      for (const [parent, file, value] of settings(host, limits)) set(join(parent, name, file), value);
      return cgroup;
    } catch (cause) {
      await cgroup.remove();
      throw new KilnError("VM_FAILED", "the VM's control group could not be made", { cause });
    }
  }

  /** Those of the VM in `directory` that another process has made: where this one would have made them, and what its VMM is in. */
  static async find(directory: string, pid?: number): Promise<Cgroup> {
    const name = nameOf(directory);
    const here = parentsOf(await findCgroups()).map((parent) => join(parent, name));
    const others = (pid === undefined ? [] : await cgroupsOf(pid)).filter(
      (folder) => basename(folder) === name,
    );
    return new Cgroup([...new Set([...here, ...others])]);
  }

  /** Puts a process with all its threads into it. One that has ended meanwhile is told by its end. @throws KilnError `VM_FAILED`. */
  async add(pid: number): Promise<void> {
    try {
      await Promise.all(this.#folders.map((folder) => put(pid, join(folder, "cgroup.procs"))));
    } catch (cause) {
      if (systemErrorCode(cause) === "ESRCH") return;
      throw new KilnError("VM_FAILED", "the VM could not be put into its control group", { cause });
    }
  }

  /** Removes it once nobody is in it any more. What is not free in time is left to `sweepCgroups`. Never fails. */
  async remove(): Promise<void> {
    await Promise.all(this.#folders.map(removeWhenEmpty));
  }
}

/** The kernel may wait for all of its processors before it moves a process: milliseconds, and nobody here waits with it. */
async function put(pid: number, file: string): Promise<void> {
  const descriptor = openSync(file, "w");
  try {
    await writeTo(descriptor, String(pid));
  } finally {
    closeSync(descriptor);
  }
}

/** Version 1 refuses more processor time than a group above has, whose limit then holds. */
function set(file: string, value: string): void {
  try {
    writeFileSync(file, value);
  } catch (error) {
    if (systemErrorCode(error) !== "EINVAL" || basename(file) !== "cpu.cfs_quota_us") throw error;
  }
}

async function removeWhenEmpty(folder: string): Promise<void> {
  const deadline = performance.now() + REMOVAL_PATIENCE_MS;
  while (!(await removeNow(folder)) && performance.now() < deadline) await delay(LOOK_AGAIN_MS);
}

/** @returns false while somebody is in it. One that cannot be removed for another reason does no harm. */
async function removeNow(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    return systemErrorCode(error) !== "EBUSY";
  }
}

/** All groups of VMs, and the folders of these. */
export async function listCgroups(): Promise<{ group: string; directory: string }[]> {
  const groups = parentsOf(await findCgroups()).map(async (parent) => {
    const names = (await readdir(parent)).filter((name) => name.startsWith(PREFIX));
    return names.map((name) => ({ group: join(parent, name), directory: directoryOf(name) }));
  });
  return (await Promise.all(groups)).flat();
}

/** Removes what a Kiln that was killed has left: groups without anybody, of VMs whose folder is gone. That is there before the group. */
export async function sweepCgroups(): Promise<void> {
  for (const { group, directory } of await listCgroups()) {
    const isThere = await stat(directory).then(
      () => true,
      (error) => systemErrorCode(error) !== "ENOENT",
    );
    if (!isThere) await removeNow(group);
  }
}

/** What is written where: parent, file in the VM's group, value. */
function settings(
  { version, parents: { memory, pids, cpu } }: CgroupHost,
  { memoryMib, vcpu }: CgroupLimits,
): [string, string, string][] {
  const bytes = String(memoryMib * 1024 * 1024);
  const cpus = vcpu + SPARE_CPUS;
  const quota = cpus * CPU_PERIOD_US;
  if (version === 1) {
    return [
      [memory, "memory.limit_in_bytes", bytes],
      [pids, "pids.max", String(TASKS + vcpu)],
      [cpu, "cpu.cfs_quota_us", String(quota)],
      [cpu, "cpu.shares", String(cpus * V1_CPU_SHARES)],
    ];
  }
  return [
    [memory, "memory.max", bytes],
    // A VMM of which a thread is gone is of no use.
    [memory, "memory.oom.group", "1"],
    [pids, "pids.max", String(TASKS + vcpu)],
    [cpu, "cpu.max", `${quota} ${CPU_PERIOD_US}`],
    [cpu, "cpu.weight", String(cpus * CPU_WEIGHT)],
  ];
}
