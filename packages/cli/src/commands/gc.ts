import type { Command } from "commander";
import { duration, given, wholeNumber } from "../options.ts";

const MAX_KEPT = 1000;

export function addGc(program: Command): void {
  program
    .command("gc")
    .summary("remove from the disk what nothing needs")
    .description(
      "Remove what no template's name stands for any more, and what was made from it: older builds, their snapshots and " +
        "images, build steps, kernels and agents of other sources; logs after a week. Sandboxes, templates and whatever a " +
        "sandbox, a build or another command uses stay.",
    )
    .option("--dry-run", "only say what would be removed")
    .option(
      "--keep <n>",
      "keep so many older builds of each template, those used last",
      wholeNumber(0, MAX_KEPT),
    )
    .option("--older-than <time>", "keep what was used less than so long ago, such as 12h or 7d", duration)
    .option("--json", "print JSON, with what is kept and why")
    .addHelpText(
      "after",
      `
Examples:
  kiln gc --dry-run
  kiln gc --keep 1                  one build to go back to
  kiln gc --older-than 7d           what was used this week stays`,
    )
    .action(async (flags: { dryRun?: boolean; keep?: number; olderThan?: number; json?: boolean }) => {
      const { dryRun = false, keep, olderThan, json = false } = flags;
      const { collect } = await import("../disk/collect.ts");
      await collect({ dryRun, ...given({ keep, olderThanMs: olderThan }) }, json);
    });
}
