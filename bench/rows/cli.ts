import { join } from "node:path";
import { timeCommand } from "../measure/command.ts";
import { interleave } from "../measure/interleave.ts";
import { PROJECT } from "../project.ts";
import type { Row } from "./row.ts";

const KILN = join(PROJECT, "bin/kiln");

export const cli: Row = {
  name: "cli",
  summary: "bin/kiln run TEMPLATE -- true, the whole process",
  defaultRuns: 10,
  async measure(context, runs) {
    await context.bootable(); // What would have to be built is not what is measured.
    const run = async () =>
      (await timeCommand(KILN, ["run", context.template, "--", "true"], context.signal)).ms;
    const { kiln } = await interleave({ kiln: run }, runs, context.signal);
    return [
      {
        row: "cli",
        title: `bin/kiln run ${context.template} -- true, from its start to its end`,
        unit: "ms",
        series: [{ label: "kiln", values: kiln }],
      },
    ];
  },
};

export const build: Row = {
  name: "build",
  summary: "bin/kiln template build TEMPLATE with nothing to do, the whole process",
  defaultRuns: 10,
  async measure(context, runs) {
    await context.bootable();
    const run = async () =>
      (await timeCommand(KILN, ["template", "build", context.template], context.signal)).ms;
    const { kiln } = await interleave({ kiln: run }, runs, context.signal);
    return [
      {
        row: "build",
        title: `bin/kiln template build ${context.template}, unchanged, from its start to its end`,
        unit: "ms",
        series: [{ label: "kiln", values: kiln }],
      },
    ];
  },
};
