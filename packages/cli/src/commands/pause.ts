import type { Command } from "commander";
import { forEachSandbox } from "../sandbox/each.ts";

export function addPause(program: Command): void {
  program
    .command("pause")
    .summary("put sandboxes to sleep")
    .description(
      "Write the memory of sandboxes to files and end their VMs. Nothing in them is lost; kiln resume goes on.",
    )
    .argument("<sandbox...>", "ids of sandboxes, or their beginnings")
    .option(
      "--push",
      "and hand them over to the store: kiln resume --from-store goes on with them on any node",
    )
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  kiln pause a1b2\n  kiln ls -q --state running | xargs -r kiln pause",
    )
    .action((ids: string[], { push = false, json = false }: { push?: boolean; json?: boolean }) =>
      forEachSandbox({ ids, json }, async (sandbox) => {
        await sandbox.pause();
        if (push) await sandbox.push();
      }),
    );
}
