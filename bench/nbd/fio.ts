import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";

/** One way of using a disk. */
export interface Pattern {
  name: string;
  title: string;
  rw: "randread" | "randwrite" | "read";
  blockSize: "4k" | "1M";
  unit: "IOPS" | "MiB/s";
}

const QUEUE_DEPTH = 16;
const FIO_TIMEOUT_MS = 60_000;
const MIB = 1024 * 1024;

const Direction = z.object({ iops: z.number(), bw_bytes: z.number(), io_bytes: z.number() });
const Output = z.object({
  jobs: z.tuple([z.object({ error: z.number(), read: Direction, write: Direction })]),
});

/** Runs fio against `uri` for `seconds`. Resolves to the rate in the pattern's unit, and to the bytes moved. */
export async function runFio(
  uri: string,
  pattern: Pattern,
  seconds: number,
  signal: AbortSignal,
): Promise<{ rate: number; bytes: number }> {
  const args = [
    "--name=bench",
    "--ioengine=nbd",
    `--uri=${uri}`,
    `--rw=${pattern.rw}`,
    `--bs=${pattern.blockSize}`,
    `--iodepth=${QUEUE_DEPTH}`,
    "--time_based",
    `--runtime=${seconds}`,
    "--output-format=json",
  ];
  const { stdout } = await promisify(execFile)("fio", args, { signal, timeout: FIO_TIMEOUT_MS });
  // fio's NBD engine greets on stdout before the report.
  const [job] = Output.parse(JSON.parse(stdout.slice(stdout.indexOf("{")))).jobs;
  if (job.error !== 0) throw new Error(`fio ended with error ${job.error}`);
  const done = pattern.rw === "randwrite" ? job.write : job.read;
  return { rate: pattern.unit === "IOPS" ? done.iops : done.bw_bytes / MIB, bytes: done.io_bytes };
}
