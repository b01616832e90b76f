import type { BenchContext } from "../context.ts";
import type { FloorSpans } from "../floor/floor.ts";
import { interleave, type Measure } from "../measure/interleave.ts";
import { processorMs } from "../measure/processor-time.ts";
import { type StartSpans, StartTrace, spanSeries } from "../measure/start-trace.ts";
import type { Row } from "./row.ts";

/** Starts a sandbox and runs its first command, with SandboxHost in this process. */
async function kilnStart(context: BenchContext, spans: StartSpans[], processor: number[]): Promise<Measure> {
  const [host, bootable] = [await context.host(), await context.bootable()];
  return async () => {
    using trace = new StartTrace();
    await using sandbox = await host.start(bootable, context.signal);
    const { stdout } = await sandbox.agent.run({ argv: ["echo", "hi"] });
    const seen = trace.finish();
    if (stdout !== "hi\n") throw new Error(`the sandbox said ${JSON.stringify(stdout)}`);
    if (seen.spans) spans.push(seen.spans);
    processor.push(processorMs(sandbox.pid));
    return seen.ms;
  };
}

async function floorStart(context: BenchContext, spans: FloorSpans[], processor: number[]): Promise<Measure> {
  const floor = await context.floor();
  return async () => {
    const created = await floor.create();
    await using vm = created.vm;
    spans.push(created.spans);
    processor.push(processorMs(vm.pid));
    return created.ms;
  };
}

/** The first run of `interleave` is not counted in the times, nor here. */
const counted = <T>(spans: readonly T[], runs: number): T[] => spans.slice(-runs);

export const tti: Row = {
  name: "tti",
  summary: "from create to the first command's output, Kiln and the floor in turn",
  defaultRuns: 20,
  async measure(context, runs) {
    const ofKiln: StartSpans[] = [];
    const ofFloor: FloorSpans[] = [];
    const processor = { kiln: [] as number[], floor: [] as number[] };
    const contestants = {
      kiln: await kilnStart(context, ofKiln, processor.kiln),
      floor: await floorStart(context, ofFloor, processor.floor),
    };
    const { kiln, floor } = await interleave(contestants, runs, context.signal);
    return [
      {
        row: "tti",
        title: "create to the output of the first echo, resumed from a snapshot",
        unit: "ms",
        series: [
          { label: "kiln", values: kiln },
          { label: "floor", values: floor },
        ],
        ratios: [["kiln", "floor"]],
        breakdown: [
          { of: "kiln", parts: spanSeries(counted(ofKiln, runs)) },
          { of: "floor", parts: spanSeries(counted(ofFloor, runs)) },
        ],
        notes:
          ofKiln.length <= runs
            ? ["a step of Kiln's starts could not be seen: there is no breakdown for those runs"]
            : [],
      },
      {
        row: "tti-cpu",
        title: "processor time of QEMU until the first echo is done, in the same runs",
        unit: "ms",
        series: [
          { label: "kiln", values: counted(processor.kiln, runs) },
          { label: "floor", values: counted(processor.floor, runs) },
        ],
        ratios: [["kiln", "floor"]],
        notes: ["other work on the machine moves this far less than the row above"],
      },
    ];
  },
};

export const floor: Row = {
  name: "floor",
  summary: "the floor alone: a bare QEMU, resumed, with the smallest agent that can exec (only when named)",
  defaultRuns: 20,
  async measure(context, runs) {
    const spans: FloorSpans[] = [];
    const { floor: values } = await interleave(
      { floor: await floorStart(context, spans, []) },
      runs,
      context.signal,
    );
    return [
      {
        row: "floor",
        title: "create to the output of the first echo, bare QEMU and the smallest agent",
        unit: "ms",
        series: [{ label: "floor", values }],
        breakdown: [{ of: "floor", parts: spanSeries(counted(spans, runs)) }],
      },
    ];
  },
};
