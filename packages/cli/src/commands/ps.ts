import type { Command } from "commander";
import { openClient } from "../client.ts";
import { formatBytes, formatSpan, printJson, printTable } from "../output/table.ts";
import { commandLine } from "../sandbox/find-process.ts";

export function addPs(program: Command): void {
  program
    .command("ps")
    .summary("list a sandbox's processes")
    .description(
      "List the processes that were started in a sandbox: those that run, and the last that ended.",
    )
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  kiln ps a1b2\n  kiln ps a1b2 --json | jq '.[] | select(.state == \"running\")'",
    )
    .action(async (id: string, flags: { json?: boolean }) => {
      const sandbox = await openClient().get(id);
      const processes = await sandbox.processes();
      if (flags.json) {
        printJson(processes);
        return;
      }
      const now = Date.now();
      printTable(
        ["id", "state", "age", "output", "command"],
        processes.map((info) => [
          info.id,
          info.state === "running" ? "running" : `exit ${info.exitCode ?? "?"}`,
          formatSpan(now - info.startedAt.getTime()),
          formatBytes(info.stdoutBytes + info.stderrBytes),
          commandLine(info),
        ]),
      );
    });
}
