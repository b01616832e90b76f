import { readFile } from "node:fs/promises";
import { processorMs } from "./processor-time.ts";

/** Length of the ticks in /proc/PID/stat, in milliseconds: USER_HZ is 100 on x86. */
const TICK_MS = 10;

/**
 * Milliseconds of processor time that this process and its children, their children and so on have used so far, those that ended and were
 * waited for included (to 10 ms), `without` and its children left out.
 */
export async function ownWorkMs(without: ReadonlySet<number>): Promise<number> {
  const [user, system] = (await statFields(process.pid)).slice(13, 15).map(Number);
  const ended = ((user ?? 0) + (system ?? 0)) * TICK_MS;
  const pids = await descendants(process.pid, without);
  const times = await Promise.all(pids.map((pid) => processorMs(pid).catch(() => 0)));
  return times.reduce((sum, ms) => sum + ms, ended);
}

async function descendants(pid: number, without: ReadonlySet<number>): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const children = text.split(" ").filter(Boolean).map(Number);
  const wanted = children.filter((child) => !without.has(child));
  return [pid, ...(await Promise.all(wanted.map((child) => descendants(child, without)))).flat()];
}

/** Fields of /proc/PID/stat from `state` on, which is number 3 in proc(5). */
async function statFields(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
