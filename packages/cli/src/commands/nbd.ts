import type { Command } from "commander";

export function addNbd(program: Command): void {
  const nbd = program
    .command("nbd")
    .summary("the NBD devices of this host")
    .description("The NBD devices of this host, which give Firecracker its disks.")
    .addHelpText("after", "\nExamples:\n  kiln nbd ls");
  nbd
    .command("ls")
    .description("List the devices, and which sandbox has each of them: those of every Kiln on this host.")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
A device that is left belongs to a VM that is gone; it is freed when its Kiln's daemon starts.

Examples:
  kiln nbd ls
  kiln nbd ls --json | jq '.[] | select(.state == "left")'`,
    )
    .action(async (flags: { json?: boolean }) => (await import("../nbd/list.ts")).list(flags.json ?? false));
}
