import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Between two looks, in milliseconds. */
const PAUSE_MS = 500;

/**
 * What the threads of a process do, a line each: name, state, where in the kernel one waits, and the ticks of processor time it took in
 * half a second. Text for people, empty when the process is gone.
 * Source: proc(5).
 */
export async function describeThreads(pid: number): Promise<string> {
  const before = await look(pid);
  await delay(PAUSE_MS);
  const after = await look(pid);
  return [...after]
    .map(([id, { name, state, waits, ticks }]) => {
      const more = ticks - (before.get(id)?.ticks ?? ticks);
      return `thread ${id} ${name}: ${state}, ${waits === "0" ? "in no wait" : `in ${waits}`}, ${more} ticks`;
    })
    .join("\n");
}

interface Thread {
  name: string;
  state: string;
  waits: string;
  ticks: number;
}

async function look(pid: number): Promise<Map<string, Thread>> {
  const folder = `/proc/${pid}/task`;
  const found = new Map<string, Thread>();
  for (const id of await readdir(folder).catch(() => [])) {
    const read = (file: string) => readFile(join(folder, id, file), "utf8").catch(() => "");
    const [stat, waits] = await Promise.all([read("stat"), read("wchan")]);
    const [, name = "", rest = ""] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? [];
    const fields = rest.split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]); // utime and stime
    if (stat !== "") found.set(id, { name, state: fields[0] ?? "", waits: waits.trim() || "0", ticks });
  }
  return found;
}
