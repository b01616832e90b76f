import type { Command } from "commander";
import { openClient } from "../client.ts";
import { printLogs } from "../sandbox/logs.ts";
import { Signals } from "../signals.ts";

export function addLogs(program: Command): void {
  program
    .command("logs")
    .summary("show what processes have written")
    .description(
      "Show what is kept of the output of a sandbox's processes: by default the last MiB of each. Standard output and error output " +
        "go where they went.",
    )
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .argument("[process]", "id of a process, or its beginning (default: all of them)")
    .option("-f, --follow", "go on until they have ended")
    .addHelpText("after", "\nExamples:\n  kiln logs a1b2\n  kiln logs -f a1b2 3f9c 2>/dev/null")
    .action(async (id: string, beginning: string | undefined, flags: { follow?: boolean }) => {
      const signal = new Signals().cancelled;
      const sandbox = await openClient().get(id, { signal });
      await printLogs(sandbox, beginning, flags.follow ?? false, signal);
    });
}
