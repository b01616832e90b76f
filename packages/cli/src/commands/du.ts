import type { Command } from "commander";

export function addDu(program: Command): void {
  program
    .command("du")
    .summary("what takes how much of the disk")
    .description(
      "Show what takes how much of the disk: templates, snapshots, sandboxes and caches. OWN is what only this one " +
        'needs, SHARED what others need as well; all of OWN and the line "shared" add up to the total, which is what du says.',
    )
    .option("--json", "print JSON, in bytes")
    .addHelpText(
      "after",
      `
Examples:
  kiln du
  kiln du --json | jq '.entries[] | select(.kind == "sandbox")'`,
    )
    .action(async (flags: { json?: boolean }) =>
      (await import("../disk/usage.ts")).showUsage(flags.json ?? false),
    );
}
