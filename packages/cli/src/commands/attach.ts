import type { Command } from "commander";
import { openClient } from "../client.ts";
import { attach, terminalSize } from "../run/attach.ts";
import { findProcess } from "../sandbox/find-process.ts";
import { Signals } from "../signals.ts";

export function addAttach(program: Command): void {
  program
    .command("attach")
    .summary("attach to a process that runs")
    .description(
      "Show what is kept of a process's output, and then what it writes, to its end. Of a process with a terminal this terminal " +
        "becomes that one; Ctrl-P Ctrl-Q leaves it running. Of any other Ctrl-C leaves it running.",
    )
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .argument("[process]", "id of a process, or its beginning (default: the only one that runs)")
    .option("-i, --stdin", "pass standard input on as well (default: to a process with a terminal)")
    .addHelpText(
      "after",
      `
Examples:
  kiln attach a1b2
  kiln attach a1b2 3f9c

Exit codes: the process's own; 0 when it was left running.`,
    )
    .action(async (id: string, beginning: string | undefined, flags: { stdin?: boolean }) => {
      const signals = new Signals();
      const sandbox = await openClient().get(id, { signal: signals.cancelled });
      const { id: processId, terminal, state } = await findProcess(sandbox, beginning);
      const process_ = await sandbox.attach(processId);
      const tty = terminal && process.stdin.isTTY === true && process.stdout.isTTY === true;
      if (tty && state === "running") await process_.resize(terminalSize());
      const stdin = (flags.stdin ?? tty) && state === "running";
      const result = await attach(process_, { signals, tty, stdin, forwardSignals: tty, detachKeys: tty });
      if (result.how === "ended") process.exitCode = result.exitCode;
      else
        process.stderr.write(`\nkiln: it runs on; kiln attach ${sandbox.id} ${processId} comes back to it\n`);
    });
}
