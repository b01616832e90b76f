import { readFile } from "node:fs/promises";

export interface PrivateMemory {
  /** MiB that nobody shares: Private_Clean and Private_Dirty. */
  all: number;
  /** MiB of them that were written to: Private_Dirty. */
  written: number;
}

/** The memory of `pid` that is its alone just now. */
export async function privateMemory(pid: number): Promise<PrivateMemory> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const mib = (field: string) => {
    const value = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1];
    if (value === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${field}`);
    return Number(value) / 1024;
  };
  const written = mib("Private_Dirty");
  return { all: mib("Private_Clean") + written, written };
}
