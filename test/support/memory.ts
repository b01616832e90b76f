import { readFile } from "node:fs/promises";

/** Private memory of a process in bytes: what would be free if it were gone. Source: proc(5), smaps_rollup. */
export async function privateMemory(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN);
  return (kib("Private_Clean") + kib("Private_Dirty")) * 1024;
}
