import type { EngineChoice } from "@kiln/sdk/types.ts";
import type { Command } from "commander";
import {
  duration,
  ENGINE_OPTION,
  environmentVariable,
  given,
  programOf,
  repeated,
  wholeNumber,
} from "../options.ts";
import { type NetworkFlags, networkOf } from "../sandbox/network.ts";
import { Signals } from "../signals.ts";

interface RunFlags extends NetworkFlags {
  env?: Record<string, string>;
  workdir?: string;
  user?: string;
  vcpu?: number;
  memory?: number;
  engine?: EngineChoice;
  timeout?: number;
  interactive?: boolean;
  tty?: boolean;
}

const EXAMPLES = `
Examples:
  kiln run python -- python3 -c 'print("hello from a microVM")'
  echo 'print(6 * 7)' | kiln run python -- python3 -
  kiln run -e TOKEN -w /tmp python -- sh -c 'echo $TOKEN; pwd'
  kiln run --allow pypi.org --allow files.pythonhosted.org python -- pip install requests
  kiln run ./spec.json                 a shell, when there is a terminal

Exit codes: the command's own; 128 + n when signal n ended it; 124 when --timeout did;
2 bad usage or spec, 3 no such template, 4 this host cannot do it or no daemon answers,
5 the build failed (9 no base image, 10 a step took too long, 11 it was ended), 6 no room for it, 7 the VM failed,
130 cancelled.`;

export function addRun(program: Command): void {
  program
    .command("run")
    .summary("run a command in a fresh sandbox")
    .description(
      "Run a command in a fresh sandbox and throw the sandbox away. Builds the template first when that is needed. " +
        "Standard input, output and error output are the command's own.",
    )
    .argument("<template>", "name of a template, or path of a spec file")
    .argument("[command...]", "program and arguments (default: the login shell /bin/sh or bash)")
    .option(
      "-e, --env <NAME=VALUE>",
      "set a variable; NAME alone passes it on (repeatable)",
      environmentVariable,
    )
    .option("-w, --workdir <dir>", "working directory (default: the template's)")
    .option("-u, --user <user>", "name, name:group, uid or uid:gid (default: the template's)")
    .option("--vcpu <n>", "virtual CPUs (default: the template's)", wholeNumber(1, 64))
    .option("--memory <MiB>", "memory in MiB (default: the template's)", wholeNumber(128, 1_048_576))
    .option(...ENGINE_OPTION)
    .option("--network <what>", "none or full (default: full)")
    .option("--allow <host>", "reach this name, address or host:port alone (repeatable)", repeated)
    .option("--timeout <duration>", "kill the command after this time, such as 30s or 5m", duration)
    .option("-i, --interactive", "keep standard input open (it always is; for the habit of typing -it)")
    .option(
      "-t, --tty",
      "give the command a terminal (default: when standard input and output are terminals)",
    )
    .option("-T, --no-tty", "give it none")
    .passThroughOptions()
    .addHelpText("after", EXAMPLES)
    .action(async (template: string, argv: string[], flags: RunFlags) => {
      const signals = new Signals();
      const { runCommand } = await import("../run/run-command.ts");
      process.exitCode = await runCommand(
        {
          template,
          argv: programOf(argv),
          ...given({
            env: flags.env,
            cwd: flags.workdir,
            user: flags.user,
            vcpu: flags.vcpu,
            memoryMib: flags.memory,
            engine: flags.engine,
            network: networkOf(flags),
            timeoutMs: flags.timeout,
          }),
          tty: flags.tty ?? (process.stdin.isTTY && process.stdout.isTTY),
        },
        signals,
      );
    });
}
