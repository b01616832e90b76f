import { readFileSync } from "node:fs";
import { processorMs } from "./processor-time.ts";

/** Length of the ticks in /proc/PID/stat, in milliseconds: USER_HZ is 100 on x86. */
const TICK_MS = 10;

/** Processor time used so far, in milliseconds. */
export interface Work {
  /** Of children that ended and were waited for, to 10 ms. */
  ended: number;
  /** Of each process that lives. */
  byProcess: ReadonlyMap<number, number>;
}

/** The work of this process and its children, their children and so on. Read at once, as by `processorMs`. */
export function ownWork(): Work {
  const [user, system] = statFields(process.pid).slice(13, 15).map(Number);
  const byProcess = new Map<number, number>();
  for (const pid of descendants(process.pid)) {
    try {
      byProcess.set(pid, processorMs(pid));
    } catch {
      // It has just ended.
    }
  }
  return { ended: ((user ?? 0) + (system ?? 0)) * TICK_MS, byProcess };
}

/**
 * What was done from `before` to `after` in milliseconds, by all but `without`: it may have been a process that waited to become something else
 * at `before`, and that waited long.
 */
export function workBetween(before: Work, after: Work, without?: number): number {
  const total = ({ ended, byProcess }: Work) =>
    [...byProcess].reduce((sum, [pid, ms]) => (pid === without ? sum : sum + ms), ended);
  return total(after) - total(before);
}

function descendants(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return [pid, ...text.split(" ").filter(Boolean).map(Number).flatMap(descendants)];
  } catch {
    return [];
  }
}

/** Fields of /proc/PID/stat from `state` on, which is number 3 in proc(5). */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
