import type { EngineChoice } from "@kiln/sdk/types.ts";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import {
  duration,
  ENGINE_OPTION,
  environmentVariable,
  given,
  keyValue,
  repeated,
  wholeNumber,
} from "../options.ts";
import { createProgress } from "../output/progress.ts";
import { printJson } from "../output/table.ts";
import { type NetworkFlags, networkOf } from "../sandbox/network.ts";
import { Signals } from "../signals.ts";
import { templateName } from "../template/template-name.ts";

interface CreateFlags extends NetworkFlags {
  env?: Record<string, string>;
  metadata?: Record<string, string>;
  vcpu?: number;
  memory?: number;
  engine?: EngineChoice;
  timeout?: number;
  onTimeout?: string;
  maxDisk?: number;
  maxProcesses?: number;
  json?: boolean;
}

export function addCreate(program: Command): void {
  program
    .command("create")
    .summary("make a sandbox that stays")
    .description(
      "Make a sandbox and print its id. It lives until it is killed, or its time is over. Builds the template first when that is needed.",
    )
    .argument("<template>", "name of a template, or path of a spec file")
    .option(
      "-e, --env <NAME=VALUE>",
      "set a variable of every program in it (repeatable)",
      environmentVariable,
    )
    .option("-m, --metadata <KEY=VALUE>", "note something about it (repeatable)", keyValue)
    .option("--vcpu <n>", "virtual CPUs (default: the template's)", wholeNumber(1, 64))
    .option("--memory <MiB>", "memory in MiB (default: the template's)", wholeNumber(128, 1_048_576))
    .option(...ENGINE_OPTION)
    .option("--timeout <duration>", "end it after this time, such as 30m or 8h (default: never)", duration)
    .option("--on-timeout <what>", "kill or pause it then (default: kill)")
    .option("--network <what>", "none or full (default: full)")
    .option("--allow <host>", "reach this name, address or host:port alone (repeatable)", repeated)
    .option(
      "--max-disk <MiB>",
      "room on this host its writes may take (default: the daemon's limit)",
      wholeNumber(16, 1_048_576),
    )
    .option(
      "--max-processes <n>",
      "processes and threads it may have (default: the daemon's limit)",
      wholeNumber(16, 1_000_000),
    )
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
Examples:
  kiln create python
  id=$(kiln create --timeout 1h --on-timeout pause -m job=42 claude-code); kiln exec $id -- claude --version
  kiln create --allow pypi.org python`,
    )
    .action(async (template: string, flags: CreateFlags) => {
      const signal = new Signals().cancelled;
      const client = openClient();
      const onProgress = createProgress();
      const size = given({ vcpu: flags.vcpu, memoryMib: flags.memory, engine: flags.engine });
      const { id, info } = await client.sandbox({
        image: await templateName(client, template, { ...size, signal, onProgress }),
        ...size,
        ...given({
          env: flags.env,
          metadata: flags.metadata,
          timeoutS: flags.timeout === undefined ? undefined : flags.timeout / 1000,
          // The daemon says what there is.
          onTimeout: flags.onTimeout as "kill" | "pause" | undefined,
          network: networkOf(flags),
          maxDiskMib: flags.maxDisk,
          maxProcesses: flags.maxProcesses,
        }),
        signal,
        onProgress,
      });
      if (flags.json) printJson(info);
      else process.stdout.write(`${id}\n`);
    });
}
