import type { Command } from "commander";
import { openClient } from "../client.ts";
import { printJson, printTable } from "../output/table.ts";
import { measureAll, STATS_HEADINGS, statsRow } from "../sandbox/usage.ts";

export function addStats(program: Command): void {
  program
    .command("stats")
    .summary("what sandboxes use now")
    .description(
      "Show what sandboxes use: processor time, private memory and disk as the host sees them, memory and processes as the guest does.",
    )
    .argument("[sandbox...]", "ids of sandboxes, or their beginnings (default: all that run)")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  kiln stats\n  kiln stats a1b2 --json")
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      const measured = await measureAll(openClient(), ids);
      if (json)
        printJson(measured.map(({ info, stats }) => ({ id: info.id, template: info.template, ...stats })));
      else printTable(STATS_HEADINGS, measured.map(statsRow));
    });
}
