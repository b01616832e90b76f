import { readdirSync, readFileSync } from "node:fs";

/**
 * Milliseconds of processor time the threads of `pid` have used so far: the first field of /proc/PID/task/TID/schedstat,
 * in nanoseconds where /proc/PID/stat has ticks of 10 ms. Other work on the machine moves it far less than wall time. Read at once: a look
 * that goes by a pool of threads takes ten times what it looks at.
 * @throws the system's error when there is no such process.
 */
export function processorMs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  let ns = 0;
  for (const thread of readdirSync(folder)) {
    try {
      ns += Number(readFileSync(`${folder}/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // A thread that ends just now is not missed.
    }
  }
  return ns / 1e6;
}
