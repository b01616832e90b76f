import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../packages/host/src/errors.ts";
import type { Bootable } from "../../packages/host/src/sandbox/sandbox.ts";
import { type EngineName, EngineName as Names } from "../../packages/host/src/vmm/engines.ts";
import type { Vmm } from "../../packages/host/src/vmm/vmm.ts";
import type { BenchContext } from "../context.ts";
import { interleave, type Measure } from "../measure/interleave.ts";
import { measureWork } from "../measure/own-work.ts";
import { type PrivateMemory, privateMemory } from "../measure/private-memory.ts";
import { spanSeries } from "../measure/start-trace.ts";
import type { RowResult, RowSkipped } from "../report/result.ts";
import type { Row } from "./row.ts";

/** Parts of a start, which every engine has. */
type Part = "disk added" | "guest running" | "agent's answer" | "first echo";

/**
 * Between two starts, in milliseconds: what one leaves to be done afterwards, and what is made ahead for the next, is done by then, and not counted
 * as another engine's.
 */
const REST_MS = 5_000;
/** Creates before anything is measured: the first ones take a third more, until V8 has compiled them, and a daemon lives for longer than these. */
const WARM_UPS = 50;

/** What was seen of one engine's starts, in the order they were made. */
interface Seen {
  spans: Record<Part, number>[];
  /** Processor time of Kiln's own processes up to the agent's answer, in milliseconds. */
  work: number[];
  /** The same from there to the first echo. */
  echo: number[];
  /** The same after that, until the next start: what the end of the VM takes, and what is made ahead of the next. */
  ahead: number[];
  memory: PrivateMemory[];
}

async function prepare(context: BenchContext, engine: EngineName): Promise<Bootable | string> {
  try {
    const host = await context.host();
    return await host.prepare(context.template, { engine, signal: context.signal });
  } catch (error) {
    if (error instanceof KilnError && error.code === "HOST_UNSUPPORTED") return error.message;
    throw error;
  }
}

/** The same, whose restore says when it begins and ends. */
function watched(bootable: Bootable, mark: (part: Part) => void): Bootable {
  const vmm: Vmm = Object.create(bootable.vmm, {
    restore: {
      value: async (...args: Parameters<Vmm["restore"]>) => {
        mark("disk added");
        const vm = await bootable.vmm.restore(...args);
        mark("guest running");
        return vm;
      },
    },
  });
  return { ...bootable, vmm };
}

/** Starts a sandbox, runs its first command, and ends it. */
async function startOnce(context: BenchContext, bootable: Bootable): Promise<void> {
  await using sandbox = await (await context.host()).start(bootable, context.signal);
  await sandbox.agent.run({ argv: ["echo", "hi"] });
}

/** Starts a sandbox and runs its first command. */
function start(context: BenchContext, bootable: Bootable, seen: Seen): Measure {
  return async () => {
    const host = await context.host();
    const endOfWork = measureWork();
    const spans: Partial<Record<Part, number>> = {};
    let before = performance.now();
    const mark = (part: Part) => {
      const now = performance.now();
      spans[part] = now - before;
      before = now;
    };
    let endOfRest: (() => number) | undefined;
    {
      await using sandbox = await host.start(watched(bootable, mark), context.signal);
      await sandbox.agent.ping();
      mark("agent's answer");
      // The VMM was a launcher that waited, and what it had cost by then is no work of this create.
      seen.work.push(endOfWork(sandbox.pid));
      const endOfEcho = measureWork();
      before = performance.now();
      const { stdout } = await sandbox.agent.run({ argv: ["echo", "hi"] });
      mark("first echo");
      if (stdout !== "hi\n") throw new Error(`the sandbox said ${JSON.stringify(stdout)}`);
      seen.spans.push(spans as Record<Part, number>);
      seen.echo.push(endOfEcho(sandbox.pid));
      seen.memory.push(await privateMemory(sandbox.pid));
      const measured = measureWork();
      endOfRest = () => measured(sandbox.pid);
    }
    await delay(REST_MS, undefined, { signal: context.signal });
    seen.ahead.push(endOfRest());
    return Object.values(spans).reduce((sum, ms) => sum + ms, 0);
  };
}

export const engines: Row = {
  name: "engines",
  summary:
    "every engine that works here in turn: resume, Kiln's own work, memory of an idle VM (only when named)",
  defaultRuns: 5,
  async measure(context, runs) {
    const contestants: Record<string, Measure> = {};
    const all = new Map<string, Seen>();
    const skipped: RowSkipped[] = [];
    for (const engine of Names.options) {
      const bootable = await prepare(context, engine);
      if (typeof bootable === "string") {
        skipped.push({ row: "engines", skipped: bootable });
        continue;
      }
      const label = `${engine} ${bootable.vmm.identity.accelerator}`;
      const seen: Seen = { spans: [], work: [], echo: [], ahead: [], memory: [] };
      all.set(label, seen);
      contestants[label] = start(context, bootable, seen);
      for (let made = 0; made < WARM_UPS; made++) await startOnce(context, bootable);
    }
    const values = await interleave(contestants, runs, context.signal);
    return [...results(values, all, runs), ...skipped];
  },
};

function results(
  values: Record<string, number[]>,
  all: ReadonlyMap<string, Seen>,
  runs: number,
): RowResult[] {
  const labels = [...all.keys()];
  const [qemu, firecracker] = Names.options.map((name) =>
    labels.find((label) => label.startsWith(`${name} `)),
  );
  const ratios: [string, string][] =
    qemu !== undefined && firecracker !== undefined ? [[firecracker, qemu]] : [];
  /** The first run of `interleave` is not counted, nor here. */
  const series = (read: (seen: Seen) => number[]) =>
    labels.map((label) => ({ label, values: read(all.get(label) as Seen).slice(-runs) }));
  const resumed = ({ spans }: Seen) =>
    spans.map((span) => span["disk added"] + span["guest running"] + span["agent's answer"]);
  return [
    {
      row: "engines",
      title: "create to the output of the first echo, resumed from a snapshot",
      unit: "ms",
      series: labels.map((label) => ({ label, values: values[label] ?? [] })),
      ratios,
      breakdown: labels.map((label) => ({
        of: label,
        parts: spanSeries((all.get(label) as Seen).spans.slice(-runs)),
      })),
    },
    {
      row: "engines-resume",
      title: "create to the agent's first answer, in the same runs",
      unit: "ms",
      series: series(resumed),
      ratios,
    },
    {
      row: "engines-vmm",
      title: "from the VMM's start to the guest running, in the same runs",
      unit: "ms",
      series: series(({ spans }) => spans.map((span) => span["guest running"])),
      ratios,
    },
    {
      row: "engines-work",
      title: `processor time of Kiln's own processes, all but the VMM, for one create, in the same runs, after ${WARM_UPS} others`,
      unit: "ms",
      series: series(({ work }) => work),
      ratios,
    },
    {
      row: "engines-echo",
      title: "processor time of the same for its first echo",
      unit: "ms",
      series: series(({ echo }) => echo),
      ratios,
    },
    {
      row: "engines-ahead",
      title: "processor time of the same after that: the VM's end, and what is made ahead of the next create",
      unit: "ms",
      series: series(({ ahead }) => ahead),
      ratios,
    },
    {
      row: "engines-memory",
      title: "private memory of the idle VM after that",
      unit: "MiB",
      series: [
        ...series(({ memory }) => memory.map(({ all }) => all)),
        ...series(({ memory }) => memory.map(({ written }) => written)).map(({ label, values }) => ({
          ...{ label: `${label}, written to`, values },
        })),
      ],
      ratios,
    },
  ];
}
