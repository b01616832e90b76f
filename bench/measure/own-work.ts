import { readFileSync } from "node:fs";
import { processorMs } from "./processor-time.ts";

/** Length of the ticks in /proc/PID/stat, in milliseconds: USER_HZ is 100 on x86. */
const TICK_MS = 10;

/** Processor time that others have used so far, in milliseconds. */
interface Work {
  /** Of children that ended and were waited for, to 10 ms. */
  ended: number;
  /** Of each descendant that lives. */
  byProcess: ReadonlyMap<number, number>;
}

/**
 * Begins to measure the processor time of this process and its children, their children and so on.
 *
 * A look at all of them takes as long as some of what is measured, so this process's own time is taken after the first look and before the second.
 * It is that of getrusage(2), which counts up to this moment, where /proc/PID/schedstat of a thread that runs is as old as the last tick.
 *
 * @returns ends it and gives the time in milliseconds, of all but the process `without`: it may have been one that waited to become something else
 * at the beginning, and that waited long.
 */
export function measureWork(): (without?: number) => number {
  const before = look();
  const self = process.cpuUsage();
  return (without) => {
    const { user, system } = process.cpuUsage(self);
    const after = look();
    const total = ({ ended, byProcess }: Work) =>
      [...byProcess].reduce((sum, [pid, ms]) => (pid === without ? sum : sum + ms), ended);
    return (user + system) / 1_000 + total(after) - total(before);
  };
}

/** Read at once, as by `processorMs`. */
function look(): Work {
  const [user, system] = statFields(process.pid).slice(13, 15).map(Number);
  const byProcess = new Map<number, number>();
  for (const pid of childrenOf(process.pid)) {
    try {
      byProcess.set(pid, processorMs(pid));
    } catch {
      // It has just ended.
    }
  }
  return { ended: ((user ?? 0) + (system ?? 0)) * TICK_MS, byProcess };
}

/** With theirs, and so on. */
function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
    return children
      .filter(Boolean)
      .map(Number)
      .flatMap((child) => [child, ...childrenOf(child)]);
  } catch {
    return [];
  }
}

/** Fields of /proc/PID/stat from `state` on, which is number 3 in proc(5). */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
