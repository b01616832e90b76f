import type { Command } from "commander";
import { Signals } from "../signals.ts";

export function addCp(program: Command): void {
  program
    .command("cp")
    .summary("copy files into and out of sandboxes")
    .description(
      "Copy a file, or a directory with all it holds, into a sandbox or out of one. Into a directory that is there it goes under its own " +
        "name. A path in a sandbox that does not begin with a slash begins at the template's working directory; - is standard input or output.",
    )
    .argument("<source>", "PATH, SANDBOX:PATH or -")
    .argument("<destination>", "PATH, SANDBOX:PATH or -")
    .addHelpText(
      "after",
      `
Examples:
  kiln cp ./data.csv a1b2:/tmp/data.csv
  kiln cp a1b2:results ./
  tar -c . | kiln cp - a1b2:/tmp/all.tar
  kiln cp a1b2:/etc/os-release - | head -n 1`,
    )
    .action(async (source: string, destination: string) => {
      const { copy } = await import("../copy/copy.ts");
      await copy(source, destination, new Signals().cancelled);
    });
}
