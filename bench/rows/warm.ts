import type { GuestAgent } from "../../packages/host/src/guest/agent.ts";
import type { FloorVm } from "../floor/floor-vm.ts";
import { interleave, type Measure } from "../measure/interleave.ts";
import { processorMs } from "../measure/processor-time.ts";
import type { RowResult } from "../report/result.ts";
import type { Row } from "./row.ts";

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function kilnExec(agent: GuestAgent, argv: readonly string[], expected: string): Measure {
  return () =>
    timed(async () => {
      const { stdout, exitCode } = await agent.run({ argv });
      if (stdout !== expected || exitCode !== 0)
        throw new Error(`${argv[0]} ended with ${exitCode}: ${stdout}`);
    });
}

function floorAsk(vm: FloorVm, command: string, expected: string): Measure {
  return () =>
    timed(async () => {
      const answer = await vm.ask(command);
      if (answer !== expected) throw new Error(`the floor answered "${answer}" to "${command}"`);
    });
}

export const warm: Row = {
  name: "warm",
  summary: "round trip, echo and python3 in a VM that runs, Kiln and the floor in turn",
  defaultRuns: 30,
  async measure(context, runs) {
    const host = await context.host();
    const floor = await context.floor();
    await using sandbox = await host.start(await context.bootable(), context.signal);
    const created = await floor.create();
    await using vm = created.vm;
    const { agent } = sandbox;
    const cases: { title: string; name: string; kiln: Measure; floor: Measure }[] = [
      {
        name: "warm-ping",
        title: "round trip to the agent in a running VM",
        kiln: () => timed(() => agent.ping()),
        floor: floorAsk(vm, "ping", "pong"),
      },
      {
        name: "warm-echo",
        title: "echo in a running VM",
        kiln: kilnExec(agent, ["echo", "hi"], "hi\n"),
        floor: floorAsk(vm, "echo hi", "hi|"),
      },
    ];
    const python = await agent.run({ argv: ["sh", "-c", "command -v python3"] });
    if (python.exitCode === 0) {
      cases.push({
        name: "warm-python",
        title: "python3 -c pass in a running VM",
        kiln: kilnExec(agent, ["python3", "-c", "pass"], ""),
        floor: floorAsk(vm, "python3 -c pass", ""),
      });
    }
    const results: RowResult[] = [];
    /** Has `measure` tell the processor time of `pid` instead of the time that passed. */
    const processor =
      (pid: number, measure: Measure): Measure =>
      async () => {
        const before = processorMs(pid);
        await measure();
        return processorMs(pid) - before;
      };
    for (const { name, title, ...contestants } of cases) {
      const values = await interleave(contestants, runs, context.signal);
      results.push({
        row: name,
        title,
        unit: "ms",
        series: [
          { label: "kiln", values: values.kiln },
          { label: "floor", values: values.floor },
        ],
        ratios: [["kiln", "floor"]],
      });
    }
    const echo = cases.find(({ name }) => name === "warm-echo");
    if (echo) {
      const values = await interleave(
        { kiln: processor(sandbox.pid, echo.kiln), floor: processor(vm.pid, echo.floor) },
        runs,
        context.signal,
      );
      results.push({
        row: "warm-echo-cpu",
        title: "processor time of QEMU for one echo in a running VM",
        unit: "ms",
        series: [
          { label: "kiln", values: values.kiln },
          { label: "floor", values: values.floor },
        ],
        ratios: [["kiln", "floor"]],
        notes: ["other work on the machine moves this far less than warm-echo"],
      });
    }
    return results;
  },
};
