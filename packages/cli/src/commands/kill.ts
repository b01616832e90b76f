import { KilnError } from "@kiln/sdk/errors.ts";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import { forEachSandbox } from "../sandbox/each.ts";

export function addKill(program: Command): void {
  program
    .command("kill")
    .summary("end sandboxes")
    .description("End sandboxes and forget them, with all that is in them.")
    .argument("[sandbox...]", "ids of sandboxes, or their beginnings")
    .option("--all", "all there are")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  kiln kill a1b2 c3d4\n  kiln kill --all")
    .action(async (ids: string[], { all = false, json = false }: { all?: boolean; json?: boolean }) => {
      if (!all) return forEachSandbox({ ids, json }, (sandbox) => sandbox.kill());
      if (ids.length > 0) throw new KilnError("USAGE", "--all and ids exclude each other");
      const every: string[] = [];
      for await (const { id } of openClient().list()) every.push(id);
      if (every.length > 0) await forEachSandbox({ ids: every, json }, (sandbox) => sandbox.kill());
    });
}
