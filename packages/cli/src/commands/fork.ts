import type { Command } from "commander";
import { openClient } from "../client.ts";
import { wholeNumber } from "../options.ts";
import { printJson } from "../output/table.ts";

export function addFork(program: Command): void {
  program
    .command("fork")
    .summary("make running copies of a sandbox")
    .description(
      "Make copies of a running sandbox as it is now, memory and all, and print their ids. It goes on itself.",
    )
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .option("-n, --count <n>", "how many", wholeNumber(1, 100), 1)
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  kiln fork a1b2\n  for id in $(kiln fork -n 5 a1b2); do kiln exec $id -- hostname; done",
    )
    .action(async (id: string, { count, json }: { count: number; json?: boolean }) => {
      const sandbox = await openClient().get(id);
      const forks = await sandbox.fork(count);
      if (json) printJson(forks.map(({ info }) => info));
      else process.stdout.write(forks.map((fork) => `${fork.id}\n`).join(""));
    });
}
