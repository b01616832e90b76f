import { interleave } from "../measure/interleave.ts";
import { prepareRunsc } from "../measure/runsc.ts";
import type { Row } from "./row.ts";

export const peers: Row = {
  name: "peers",
  summary: "gVisor's runsc run of echo on the same rootfs, and Kiln's create to first echo, in turn",
  defaultRuns: 20,
  async measure(context, runs) {
    const runsc = await prepareRunsc(context);
    if ("skipped" in runsc) return [{ row: "peers", skipped: runsc.skipped }];
    const [host, bootable] = [await context.host(), await context.bootable()];
    const kiln = async () => {
      const started = performance.now();
      await using sandbox = await host.start(bootable, context.signal);
      await sandbox.agent.run({ argv: ["echo", "hi"] });
      return performance.now() - started;
    };
    const values = await interleave({ kiln, runsc: runsc.measure }, runs, context.signal);
    return [
      {
        row: "peers",
        title: `create to the output of the first echo, beside runsc run (platform ${runsc.platform})`,
        unit: "ms",
        series: [
          { label: "kiln", values: values.kiln },
          { label: "runsc", values: values.runsc },
        ],
        ratios: [["kiln", "runsc"]],
        notes: [
          "runsc's time is that of its whole process; gVisor is not a VM",
          ...runsc.refused.map((reason) => `not taken: ${reason}`),
        ],
      },
    ];
  },
};
