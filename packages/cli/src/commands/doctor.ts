import type { Command } from "commander";

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .summary("what works on this machine, and what to do about the rest")
    .description("Look at this machine: what Kiln needs, what is there, what was found out, and what to do.")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
Exit codes: 0 when sandboxes can run here, 4 when something they need is missing.

Examples:
  kiln doctor
  kiln doctor --json | jq '.checks[] | select(.status != "ok")'`,
    )
    .action(async (flags: { json?: boolean }) => {
      const { doctor } = await import("../doctor/doctor.ts");
      process.exitCode = await doctor(flags.json ?? false);
    });
}
