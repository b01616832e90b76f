import { readdir, readFile } from "node:fs/promises";

/**
 * Milliseconds of processor time the threads of `pid` have used so far: the first field of /proc/PID/task/TID/schedstat,
 * in nanoseconds where /proc/PID/stat has ticks of 10 ms. Other work on the machine moves it far less than wall time.
 */
export async function processorMs(pid: number): Promise<number> {
  const folder = `/proc/${pid}/task`;
  const threads = await readdir(folder);
  const texts = await Promise.all(
    // A thread that ends just now is not missed.
    threads.map((thread) => readFile(`${folder}/${thread}/schedstat`, "utf8").catch(() => "0")),
  );
  return texts.reduce((sum, text) => sum + Number(text.split(" ")[0]), 0) / 1e6;
}
