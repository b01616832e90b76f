import type { KilnClient } from "@kiln/sdk/client.ts";
import { KilnError } from "@kiln/sdk/errors.ts";
import type { Build } from "@kiln/sdk/types.ts";
import type { Command } from "commander";
import { openClient } from "../client.ts";
import { createProgress } from "../output/progress.ts";
import { formatSpan, printJson, printTable } from "../output/table.ts";
import { Signals } from "../signals.ts";

/** The build whose id begins with `beginning`; the one that was asked for last when there is none. */
async function findBuild(client: KilnClient, beginning: string | undefined): Promise<Build> {
  const builds = await client.builds.list();
  if (beginning === undefined) {
    const last = builds.at(-1);
    if (last) return last;
    throw new KilnError("BUILD_NOT_FOUND", "there was no build yet", {
      hint: "kiln template build NAME starts one",
    });
  }
  const found = builds.filter(({ id }) => id.startsWith(beginning));
  const [only] = found;
  if (only && found.length === 1) return only;
  if (only)
    throw new KilnError("CONFLICT", `"${beginning}" is the beginning of ${found.length} ids`, {
      hint: "write more of it",
    });
  throw new KilnError("BUILD_NOT_FOUND", `there is no build "${beginning}"`, {
    hint: "kiln build ls lists them",
  });
}

function row({ id, template, state, queuePosition, createdAt, finishedAt, error }: Build): string[] {
  const took = formatSpan((finishedAt ?? new Date()).getTime() - createdAt.getTime());
  return [
    id,
    template,
    queuePosition === undefined ? state : `${state} (${queuePosition})`,
    formatSpan(Date.now() - createdAt.getTime()),
    took,
    error?.message.split("\n")[0] ?? "",
  ];
}

export function addBuild(program: Command): void {
  const build = program
    .command("build")
    .summary("the daemon's builds: those under way, those that wait, the last that ended")
    .addHelpText(
      "after",
      "\nExamples:\n  kiln build ls\n  kiln build logs -f\n  kiln build cancel 3f9c\n\nkiln template build starts one.",
    );

  build
    .command("ls")
    .description(
      "List builds, those asked for last at the end. Of one that waits for others to end, its place in the queue.",
    )
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  kiln build ls\n  kiln build ls --json")
    .action(async ({ json }: { json?: boolean }) => {
      const builds = await openClient().builds.list();
      if (json) printJson(builds);
      else printTable(["id", "template", "state", "age", "took", "error"], builds.map(row));
    });

  build
    .command("logs")
    .description(
      "Show a build's progress from its beginning. A build that failed ends this with its own exit code.",
    )
    .argument("[build]", "id of a build, or its beginning (default: the last one)")
    .option("-f, --follow", "go on until it has ended")
    .addHelpText("after", "\nExamples:\n  kiln build logs 3f9c\n  kiln build logs -f")
    .action(async (beginning: string | undefined, { follow = false }: { follow?: boolean }) => {
      const { cancelled: signal } = new Signals();
      const client = openClient();
      const { id, finishedAt } = await findBuild(client, beginning);
      const onProgress = createProgress();
      if (follow || finishedAt !== undefined) {
        await client.builds.wait(id, { signal, onProgress });
        return;
      }
      const quiet = AbortSignal.timeout(1_000); // What there was so far comes at once.
      const until = AbortSignal.any([quiet, signal]);
      await client.builds.wait(id, { signal: until, onProgress }).catch((error) => {
        if (!quiet.aborted) throw error;
      });
    });

  build
    .command("cancel")
    .description("Cancel a build. What it has finished stays in the step cache.")
    .argument("<build>", "id of a build, or its beginning")
    .addHelpText("after", "\nExamples:\n  kiln build cancel 3f9c")
    .action(async (beginning: string) => {
      const client = openClient();
      const { id } = await findBuild(client, beginning);
      await client.builds.cancel(id);
      process.stdout.write(`${id}\n`);
    });
}
