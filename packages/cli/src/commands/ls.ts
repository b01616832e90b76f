import type { SandboxInfo, SandboxState } from "@kiln/sdk/types.ts";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import { given, keyValue } from "../options.ts";
import { formatSpan, printJson, printTable } from "../output/table.ts";

interface LsFlags {
  state?: string;
  template?: string;
  metadata?: Record<string, string>;
  quiet?: boolean;
  json?: boolean;
}

function row(info: SandboxInfo, now: number): string[] {
  const { id, template, state, reason, vcpu, memoryMib, createdAt, expiresAt, onTimeout, metadata } = info;
  return [
    id,
    template,
    state,
    String(vcpu),
    `${memoryMib} MiB`,
    formatSpan(now - createdAt.getTime()),
    expiresAt === null ? "never" : `${formatSpan(expiresAt.getTime() - now)} (${onTimeout})`,
    [
      ...(reason === undefined ? [] : [reason]),
      ...Object.entries(metadata).map((entry) => entry.join("=")),
    ].join(" "),
  ];
}

export function addLs(program: Command): void {
  program
    .command("ls")
    .summary("list sandboxes")
    .description("List the sandboxes there are, oldest first.")
    .option("--state <states>", "only those in one of these states, such as running,paused")
    .option("--template <name>", "only those of this template")
    .option("-m, --metadata <KEY=VALUE>", "only those with this entry (repeatable)", keyValue)
    .option("-q, --quiet", "print ids alone")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
Examples:
  kiln ls
  kiln ls --state running -m job=42
  kiln ls -q --template python | xargs -r kiln kill`,
    )
    .action(async (flags: LsFlags) => {
      const infos: SandboxInfo[] = [];
      const filter = given({
        state: flags.state?.split(",") as SandboxState[] | undefined, // The daemon says which there are.
        image: flags.template,
        metadata: flags.metadata,
      });
      for await (const { info } of openClient().list(filter)) infos.push(info);
      if (flags.json) printJson(infos);
      else if (flags.quiet) process.stdout.write(infos.map(({ id }) => `${id}\n`).join(""));
      else {
        const now = Date.now();
        const headings = ["id", "template", "state", "vcpu", "memory", "age", "ends", "notes"];
        printTable(
          headings,
          infos.map((info) => row(info, now)),
        );
      }
    });
}
