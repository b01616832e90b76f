import { KilnError } from "@kiln/sdk/errors.ts";
import type { Command } from "commander";

export function addCompletion(program: Command): void {
  program
    .command("completion")
    .summary("completion for your shell")
    .description("Print a script that lets a shell complete commands, options, templates and sandboxes.")
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText(
      "after",
      `
Examples:
  kiln completion bash >~/.local/share/bash-completion/completions/kiln
  kiln completion zsh >"\${fpath[1]}/_kiln"
  kiln completion fish >~/.config/fish/completions/kiln.fish`,
    )
    .action(async (shell: string) => {
      const { SCRIPTS } = await import("../completion/scripts.ts");
      const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
      if (script === undefined) {
        throw new KilnError("USAGE", `there is no completion for "${shell}"`, {
          hint: Object.keys(SCRIPTS).join(", "),
        });
      }
      process.stdout.write(script);
    });
}
