import type { Command } from "commander";
import { openClient } from "../client.ts";
import { printJson } from "../output/table.ts";

export function addSnapshot(program: Command): void {
  program
    .command("snapshot")
    .summary("make a template of a sandbox")
    .description(
      "Make a template of a running sandbox as it is now: sandboxes of that template go on from here.",
    )
    .argument("<sandbox>", "id of a sandbox, or its beginning")
    .argument("<name>", "name of the template")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  kiln exec a1b2 -- pip install numpy\n  kiln snapshot a1b2 with-numpy\n  kiln run with-numpy",
    )
    .action(async (id: string, name: string, { json }: { json?: boolean }) => {
      const sandbox = await openClient().get(id);
      const template = await sandbox.snapshot(name);
      if (json) printJson(template);
      else process.stdout.write(`${template.name}\n`);
    });
}
