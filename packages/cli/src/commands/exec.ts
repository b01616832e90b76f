import { KilnError } from "@kiln/sdk/errors.ts";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import { duration, environmentVariable, given, programOf } from "../options.ts";
import { attach, terminalSize } from "../run/attach.ts";
import { SHELL } from "../run/run-command.ts";
import { Signals } from "../signals.ts";

interface ExecFlags {
  env?: Record<string, string>;
  workdir?: string;
  user?: string;
  timeout?: number;
  detach?: boolean;
  interactive?: boolean;
  tty?: boolean;
}

export function addExec(program: Command): void {
  program
    .command("exec")
    .summary("run a command in a sandbox that is there")
    .description(
      "Run a command in a sandbox. Standard input, output and error output are the command's own. It ends with this command, " +
        "unless it is detached.",
    )
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .argument("[command...]", "program and arguments (default: the login shell /bin/sh or bash)")
    .option(
      "-e, --env <NAME=VALUE>",
      "set a variable; NAME alone passes it on (repeatable)",
      environmentVariable,
    )
    .option("-w, --workdir <dir>", "working directory (default: the template's)")
    .option("-u, --user <user>", "name, name:group, uid or uid:gid (default: the template's)")
    .option("--timeout <duration>", "kill the command after this time, such as 30s or 5m", duration)
    .option("-d, --detach", "print the process's id and let it run: kiln attach, kiln logs")
    .option("-i, --interactive", "keep standard input open (it always is; for the habit of typing -it)")
    .option(
      "-t, --tty",
      "give the command a terminal (default: when standard input and output are terminals)",
    )
    .option("-T, --no-tty", "give it none")
    .passThroughOptions()
    .addHelpText(
      "after",
      `
Examples:
  kiln exec a1b2 -- python3 -c 'print(1)'
  kiln exec a1b2                                a shell, when there is a terminal
  kiln exec -d a1b2 -- python3 -m http.server   then: kiln logs -f a1b2

Exit codes: the command's own; 128 + n when signal n ended it; 124 when --timeout did; else as those of kiln run.`,
    )
    .action(async (id: string, words: string[], flags: ExecFlags) => {
      const signals = new Signals();
      const signal = signals.cancelled;
      const sandbox = await openClient().get(id, { signal });
      const argv = words.length === 0 ? SHELL : programOf(words);
      const options = given({
        env: flags.env,
        cwd: flags.workdir,
        user: flags.user,
        timeoutMs: flags.timeout,
      });
      const tty = flags.tty ?? (process.stdin.isTTY && process.stdout.isTTY && !flags.detach);
      const terminal = tty ? { terminal: terminalSize() } : {};
      if (flags.detach) {
        const process_ = await sandbox.spawn(argv, { ...options, ...terminal, signal });
        process.stdout.write(`${process_.id}\n`);
        return;
      }
      const command = await sandbox.start(argv, { ...options, ...terminal, stdin: true, signal });
      const result = await attach(command, { signals, tty, stdin: true, forwardSignals: true });
      if (result.how !== "ended") throw new KilnError("CANCELLED", "cancelled");
      process.exitCode = result.exitCode;
    });
}
