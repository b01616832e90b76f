import { readFile, statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import type { SandboxRecord } from "./sandbox-record.ts";

const MIB = 1024 * 1024;
/** A guest touches a part of its memory only, and shares much of that with others of its template. */
const DEFAULT_OVERCOMMIT = 3;

/** What all sandboxes of a daemon together may take. */
export interface Limits {
  /** Sandboxes that are not dead, paused ones included. */
  maxSandboxes: number;
  /** Sum of the memory sizes of those that run, in MiB. */
  maxMemoryMib: number;
  /** Memory of the host that has to be left available, in MiB. */
  minAvailableMemoryMib: number;
  /** Room that has to be left on the disk, in MiB. */
  minFreeDiskMib: number;
  /** Room that what a sandbox writes may take on the host, in MiB, unless it asked for less; no limit but its disk's size otherwise. */
  maxDiskMib: number | undefined;
  /** Processes and threads a sandbox may have, unless it asked for less. */
  maxProcesses: number;
}

export function defaultLimits(): Limits {
  return {
    maxSandboxes: 500,
    maxMemoryMib: Math.floor((totalmem() / MIB) * DEFAULT_OVERCOMMIT),
    minAvailableMemoryMib: 512,
    minFreeDiskMib: 1024,
    maxDiskMib: undefined,
    maxProcesses: 16_384,
  };
}

/** Bytes the kernel could give to programs without swapping: MemAvailable of proc(5). */
export async function availableMemoryMib(): Promise<number> {
  const text = await readFile("/proc/meminfo", "utf8");
  return Math.floor(Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024);
}

export async function freeDiskMib(home: KilnHome): Promise<number> {
  const { bavail, bsize } = await statfs(home.root);
  return Math.floor((bavail * bsize) / MIB);
}

/** Records that count: those of sandboxes that are not dead. */
export function usage(records: Iterable<SandboxRecord>): { sandboxes: number; memoryMib: number } {
  let sandboxes = 0;
  let memoryMib = 0;
  for (const record of records) {
    if (record.state === "dead") continue;
    sandboxes += 1;
    if (record.state !== "paused") memoryMib += record.memoryMib;
  }
  return { sandboxes, memoryMib };
}

/** @throws KilnError `CAPACITY` for a sandbox that would not fit if it were the only one. */
export function checkSize({ maxMemoryMib }: Limits, memoryMib: number): void {
  if (memoryMib <= maxMemoryMib) return;
  throw new KilnError(
    "CAPACITY",
    `${memoryMib} MiB of memory are more than all sandboxes together may have: ${maxMemoryMib} MiB`,
    {
      hint: "ask for less, or raise max_memory_mib in the daemon's configuration",
    },
  );
}

/**
 * Checks that `count` more VMs of `memoryMib` fit; `fresh` of them are new sandboxes.
 * @throws KilnError `LIMIT_REACHED`, `CAPACITY`.
 */
export async function admit(
  home: KilnHome,
  limits: Limits,
  records: Iterable<SandboxRecord>,
  wanted: { count: number; memoryMib: number; fresh: boolean },
): Promise<void> {
  const { sandboxes, memoryMib } = usage(records);
  const { count, fresh } = wanted;
  if (fresh && sandboxes + count > limits.maxSandboxes) {
    throw new KilnError(
      "LIMIT_REACHED",
      `there are ${sandboxes} sandboxes, and at most ${limits.maxSandboxes} may be`,
      {
        hint: "kill some, or raise max_sandboxes in the daemon's configuration",
        details: { sandboxes, max_sandboxes: limits.maxSandboxes },
      },
    );
  }
  const wantedMib = count * wanted.memoryMib;
  if (memoryMib + wantedMib > limits.maxMemoryMib) {
    throw new KilnError(
      "CAPACITY",
      `running sandboxes have ${memoryMib} MiB of memory; ${wantedMib} MiB more would pass the limit of ${limits.maxMemoryMib} MiB`,
      { hint: "pause or kill some, or raise max_memory_mib in the daemon's configuration" },
    );
  }
  const [available, free] = await Promise.all([availableMemoryMib(), freeDiskMib(home)]);
  if (available < limits.minAvailableMemoryMib) {
    throw new KilnError("CAPACITY", `this host has ${available} MiB of memory left`, {
      hint: `${limits.minAvailableMemoryMib} MiB have to stay available: pause or kill some sandboxes`,
    });
  }
  if (free < limits.minFreeDiskMib) {
    throw new KilnError("CAPACITY", `the disk of KILN_HOME has ${free} MiB left`, {
      hint: `${limits.minFreeDiskMib} MiB have to stay free: remove sandboxes or templates, or move KILN_HOME`,
    });
  }
}
