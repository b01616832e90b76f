import { readFileSync } from "node:fs";

/**
 * A process, told apart from a later one that got the same pid: its pid and its start time in clock ticks since
 * boot (field 22 of /proc/PID/stat, proc(5)), as `"1234-567890"`.
 */
export type ProcessId = string;

/** The identity of `pid`, or undefined when no such process is alive (a zombie is not). */
export function processId(pid: number): ProcessId | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8"); // There is no disk behind it.
  } catch {
    return undefined;
  }
  // The command name, field 2, is in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const startTime = fields[19];
  return state === "Z" || state === "X" || startTime === undefined ? undefined : `${pid}-${startTime}`;
}

/** Whether the process that `id` was made from is still alive. */
export function isAlive(id: ProcessId): boolean {
  const pid = Number.parseInt(id, 10);
  return Number.isSafeInteger(pid) && pid > 0 && processId(pid) === id;
}

let self: ProcessId | undefined;

/** The identity of this process. */
export function ownProcessId(): ProcessId {
  self ??= processId(process.pid);
  if (self === undefined) throw new Error("/proc is not mounted");
  return self;
}
