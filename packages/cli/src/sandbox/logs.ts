import { once } from "node:events";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import type { ProcessInfo } from "@kiln/sdk/types.ts";
import { commandLine, findProcess } from "./find-process.ts";

/** Prints what is kept of the output of one process, or of all; where there are several, with a line above each part. */
export async function printLogs(
  sandbox: Sandbox,
  beginning: string | undefined,
  follow: boolean,
  signal: AbortSignal,
): Promise<void> {
  const processes =
    beginning === undefined ? await sandbox.processes() : [await findProcess(sandbox, beginning)];
  let shown: string | undefined;
  const print = async (info: ProcessInfo) => {
    const attached = await sandbox.attach(info.id, { follow, signal });
    for await (const event of attached.output) {
      if (processes.length > 1 && shown !== info.id) {
        process.stdout.write(`${shown === undefined ? "" : "\n"}==> ${info.id} ${commandLine(info)} <==\n`);
        shown = info.id;
      }
      if (event.type === "dropped") {
        process.stderr.write(`kiln: ${event.bytes} bytes of ${event.channel} are no longer there\n`);
        continue;
      }
      const target = event.type === "stdout" ? process.stdout : process.stderr;
      if (!target.write(event.data)) await once(target, "drain");
    }
  };
  process.stdout.once("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? 0 : 1),
  );
  try {
    if (follow) await Promise.all(processes.map(print));
    else for (const info of processes) await print(info);
  } catch (error) {
    if (!signal.aborted) throw error; // Ctrl-C is how following ends.
  }
}
