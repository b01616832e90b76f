import { BenchDaemon } from "../measure/bench-daemon.ts";
import { interleave, type Measure } from "../measure/interleave.ts";
import { prepareRunsc } from "../measure/runsc.ts";
import type { RowResult } from "../report/result.ts";
import type { Row } from "./row.ts";

/** Standby VMs of the daemon that has a pool: one is taken at a time. */
const POOL = 1;
/** Two VMs of one template are some milliseconds apart in what an echo takes, for as long as they live: of these pairs are measured. */
const EXEC_PAIRS = 10;
/** A daemon that has answered so many has its way to a program compiled, as one that has run for a day. */
const UNCOUNTED_EXECS = 150;
const UNCOUNTED_EXECS_OF_A_VM = 20;

const timed =
  (work: () => Promise<unknown>): Measure =>
  async () => {
    const started = performance.now();
    await work();
    return performance.now() - started;
  };

export const daemon: Row = {
  name: "daemon",
  summary:
    "create to first echo through the daemon, with and without a pool, beside the library and runsc; exec through the SDK",
  defaultRuns: 20,
  async measure(context, runs) {
    const [host, bootable] = [await context.host(), await context.bootable()];
    const { template, home, signal } = context;
    await using plain = await BenchDaemon.start(home, {});
    await using pooled = await BenchDaemon.start(home, { [template]: POOL });
    const runsc = await prepareRunsc(context);
    const create =
      ({ client }: BenchDaemon): Measure =>
      async () => {
        const started = performance.now();
        await using sandbox = await client.sandbox({ image: template, network: "none", signal });
        const { stdout } = await sandbox.exec(["echo", "hi"]);
        const ms = performance.now() - started;
        if (stdout !== "hi\n") throw new Error(`the sandbox said ${JSON.stringify(stdout)}`);
        return ms;
      };
    const library: Measure = async () => {
      const started = performance.now();
      await using sandbox = await host.start(bootable, signal);
      await sandbox.agent.run({ argv: ["echo", "hi"] });
      return performance.now() - started;
    };
    const starts = await interleave(
      {
        library,
        daemon: create(plain),
        pool: async () => {
          await pooled.filled();
          return create(pooled)();
        },
        ...("skipped" in runsc ? {} : { runsc: runsc.measure }),
      } as Record<string, Measure>,
      runs,
      signal,
    );
    const results: RowResult[] = [
      {
        row: "daemon",
        title: "create to the output of the first echo: library, daemon, daemon with a standby VM, runsc",
        unit: "ms",
        series: Object.entries(starts).map(([label, values]) => ({ label, values })),
        ratios: [
          ["daemon", "library"],
          ...("skipped" in runsc
            ? []
            : ([
                ["daemon", "runsc"],
                ["pool", "runsc"],
              ] as const)),
        ],
        notes: "skipped" in runsc ? [runsc.skipped] : [`runsc's platform: ${runsc.platform}`],
      },
    ];
    const execs = { sdk: [] as number[], library: [] as number[] };
    for (let pair = 0; pair < EXEC_PAIRS; pair++) {
      await using ours = await plain.client.sandbox({ image: template, network: "none", signal });
      await using theirs = await host.start(bootable, signal);
      const measures = {
        sdk: timed(() => ours.exec(["echo", "hi"])),
        library: timed(() => theirs.agent.run({ argv: ["echo", "hi"] })),
      };
      await interleave(measures, pair === 0 ? UNCOUNTED_EXECS : UNCOUNTED_EXECS_OF_A_VM, signal);
      const counted = await interleave(measures, runs, signal);
      execs.sdk.push(...counted.sdk);
      execs.library.push(...counted.library);
    }
    results.push({
      row: "daemon-exec",
      title: "echo in a running VM: through the SDK and the daemon, and by the library",
      unit: "ms",
      series: [
        { label: "sdk", values: execs.sdk },
        { label: "library", values: execs.library },
      ],
      ratios: [["sdk", "library"]],
    });
    return results;
  },
};
