import type { Command } from "commander";
import { duration } from "../options.ts";

interface ServeFlags {
  listen?: string;
  background?: boolean;
  idleExit?: number;
  log?: string;
}

export function addServe(program: Command): void {
  program
    .command("serve")
    .summary("run the daemon")
    .description(
      "Run the daemon: it keeps sandboxes, and answers the CLI and the SDKs on $KILN_HOME/kiln.sock. Other commands start " +
        "one in the background when none runs. Sandboxes outlive it: the next daemon takes them up.",
    )
    .option("--listen <host:port>", "answer on TCP as well; requests there need a token (kiln token create)")
    .option("--background", "return as soon as it answers; do nothing when one runs already")
    .option("--idle-exit <duration>", "end when nothing was asked and no sandbox ran for this long", duration)
    .option("--log <file>", "write the log to a file (default: standard error)")
    .addHelpText(
      "after",
      `
$KILN_HOME/config.json sets limits and standby pools; see docs/daemon.md.

Examples:
  kiln serve
  kiln serve --listen 0.0.0.0:7070
  kiln serve --background`,
    )
    .action(async (flags: ServeFlags) => (await import("../serve/serve.ts")).serveCommand(flags));
}
