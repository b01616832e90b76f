import type { Command } from "commander";
import { duration } from "../options.ts";
import { forEachSandbox } from "../sandbox/each.ts";

interface Flags {
  timeout?: number;
  fromStore?: boolean;
  json?: boolean;
}

export function addResume(program: Command): void {
  program
    .command("resume")
    .summary("wake paused sandboxes up")
    .description("Go on with sandboxes from where they were paused.")
    .argument("<sandbox...>", "ids of sandboxes, or their beginnings")
    .option("--timeout <duration>", "end them after this time from now (default: as before)", duration)
    .option(
      "--from-store",
      "take them out of the store, where a node has put them with kiln pause --push; ids in full",
    )
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  kiln resume a1b2\n  kiln resume --timeout 2h a1b2")
    .action((ids: string[], { timeout, fromStore = false, json = false }: Flags) =>
      forEachSandbox({ ids, json, fromStore }, (sandbox) =>
        sandbox.resume(timeout === undefined ? {} : { timeoutS: timeout / 1000 }),
      ),
    );
}
