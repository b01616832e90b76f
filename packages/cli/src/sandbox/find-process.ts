import { KilnError } from "@kiln/sdk/errors.ts";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import type { ProcessInfo } from "@kiln/sdk/types.ts";
import { printable } from "../output/table.ts";

/** A process's command line, short enough for a line, without what a terminal would obey. */
export const commandLine = ({ argv }: ProcessInfo, width = 60): string => {
  const text = printable(argv.join(" "));
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
};

/** The process whose id begins so; without a beginning the only one that runs. */
export async function findProcess(sandbox: Sandbox, beginning: string | undefined): Promise<ProcessInfo> {
  const all = await sandbox.processes();
  const matching =
    beginning === undefined
      ? all.filter(({ state }) => state === "running")
      : all.filter(({ id }) => id.startsWith(beginning));
  const [only] = matching;
  if (only !== undefined && matching.length === 1) return only;
  const hint = `kiln ps ${sandbox.id} lists them`;
  if (only !== undefined) {
    const which =
      beginning === undefined ? "several processes run" : `"${beginning}" means several processes`;
    throw new KilnError("CONFLICT", which, { hint });
  }
  const what =
    beginning === undefined ? "no process runs in this sandbox" : `there is no process "${beginning}"`;
  throw new KilnError("PROCESS_NOT_FOUND", what, { hint });
}
