import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { open } from "node:fs/promises";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";
import { interleave } from "../measure/interleave.ts";
import { median } from "../measure/statistics.ts";
import type { RowResult, RowSkipped } from "../report/result.ts";
import { type Contestant, startKiln, startNbdkit, startQemuNbd } from "./contestants.ts";
import { type Pattern, runFio } from "./fio.ts";

const TOOLS = ["fio", "nbdkit", "qemu-nbd", "qemu-img", "nbdinfo"];
const HOW_TO_INSTALL = "apt-get install fio nbdkit qemu-utils libnbd-bin";

const BASE_MIB = 1024;
const DEFAULT_SECONDS = 2;

/** In this order on the same overlays: the second pass of long reads goes through what the random writes have left. */
const PATTERNS: readonly Pattern[] = [
  { name: "nbd-randread", title: "random reads of 4 KiB", rw: "randread", blockSize: "4k", unit: "IOPS" },
  { name: "nbd-read", title: "reads of 1 MiB from a fresh disk", rw: "read", blockSize: "1M", unit: "MiB/s" },
  { name: "nbd-randwrite", title: "random writes of 4 KiB", rw: "randwrite", blockSize: "4k", unit: "IOPS" },
  {
    name: "nbd-read-written",
    title: "reads of 1 MiB after the random writes",
    rw: "read",
    blockSize: "1M",
    unit: "MiB/s",
  },
];

export interface NbdOptions {
  /** Folder for the base image and the overlays, some 4 GiB; short, for sockets. */
  folder: string;
  /** Counted runs of each server and pattern. */
  runs: number;
  /** Length of one run, in seconds. @default 2 */
  seconds?: number;
  signal: AbortSignal;
}

/** Kiln's block server beside nbdkit's cow filter and qemu-nbd on qcow2: fio at queue depth 16, in turn. */
export async function measureNbd(options: NbdOptions): Promise<(RowResult | RowSkipped)[]> {
  const absent = TOOLS.filter((tool) => spawnSync("which", [tool]).status !== 0);
  if (absent.length > 0) {
    return [{ row: "nbd", skipped: `${absent.join(", ")} not installed: ${HOW_TO_INSTALL}` }];
  }
  const { folder, signal } = options;
  const base = join(folder, "base.raw");
  await writeRandomImage(base);
  await using servers = new AsyncDisposableStack();
  const contestants: Contestant[] = [];
  for (const start of [startKiln, startNbdkit, startQemuNbd]) {
    contestants.push(servers.use(await start(folder, base, signal)));
  }
  const results: RowResult[] = [];
  for (const pattern of PATTERNS) results.push(await measurePattern(pattern, contestants, options));
  return results;
}

async function measurePattern(
  pattern: Pattern,
  contestants: readonly Contestant[],
  { runs, seconds = DEFAULT_SECONDS, signal }: NbdOptions,
): Promise<RowResult> {
  const cpu = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  const measures = Object.fromEntries(
    contestants.map((contestant) => [
      contestant.name,
      async () => {
        const before = await contestant.cpuMs();
        const { rate, bytes } = await runFio(contestant.uri, pattern, seconds, signal);
        const perGib = ((await contestant.cpuMs()) - before) / (bytes / 2 ** 30);
        cpu.get(contestant.name)?.push(perGib);
        return rate;
      },
    ]),
  );
  const idleBefore = cpuTimes();
  const values = await interleave(measures, runs, signal);
  const [load = 0] = loadavg();
  const peers = contestants.filter(({ name }) => name !== "kiln");
  const used = [...cpu].map(([name, figures]) => `${name} ${Math.round(median(figures.slice(1)))}`);
  return {
    row: pattern.name,
    title: `${pattern.title}, fio at queue depth 16`,
    unit: pattern.unit,
    series: Object.entries(values).map(([label, found]) => ({ label, values: found })),
    ratios: peers.map(({ name }) => ["kiln", name] as const),
    notes: [
      "more is better",
      `load ${load.toFixed(1)} on ${availableParallelism()} processors, idle ${idleShare(idleBefore)} % of the time; where others compete for them, a server with more threads gets a larger share`,
      `processor time of the server, median ms for each GiB: ${used.join(", ")} (other work on the machine moves it less than the rates)`,
    ],
  };
}

interface CpuTimes {
  idle: number;
  all: number;
}

function cpuTimes(): CpuTimes {
  const times = { idle: 0, all: 0 };
  for (const { times: core } of cpus()) {
    times.idle += core.idle;
    times.all += core.user + core.nice + core.sys + core.irq + core.idle;
  }
  return times;
}

function idleShare(before: CpuTimes): number {
  const now = cpuTimes();
  return Math.round((100 * (now.idle - before.idle)) / (now.all - before.all));
}

async function writeRandomImage(path: string): Promise<void> {
  await using file = await open(path, "w");
  const piece = Buffer.alloc(8 * 1024 * 1024);
  for (let written = 0; written < BASE_MIB * 1024 * 1024; written += piece.length) {
    await file.write(randomFillSync(piece));
  }
}
