import { once } from "node:events";
import { KilnError, systemErrorCode } from "@kiln/host/errors.ts";
import type { ExecProcess, ExitStatus } from "@kiln/host/guest/exec.ts";
import type { Signals } from "../signals.ts";

/** What a shell reports for a program that wrote into a closed pipe: 128 + SIGPIPE. */
const BROKEN_PIPE_STATUS: ExitStatus = { code: undefined, signal: "SIGPIPE", timedOut: false };

/**
 * Connects this process's standard streams, signals and, with `tty`, its terminal to a program in a guest, until the
 * program ends. Returns undefined when it was cancelled.
 */
export async function attach(
  command: ExecProcess,
  signals: Signals,
  tty: boolean,
): Promise<ExitStatus | undefined> {
  const ignore = () => undefined; // A guest that went away shows in exited().
  const cancel = () => void command.cancel().catch(ignore);
  signals.cancelled.addEventListener("abort", cancel);
  signals.forwardTo((name) => void command.signal(name).catch(ignore));
  const resize = () =>
    void command
      .resize({ rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 })
      .catch(ignore);
  if (tty) {
    process.stdin.setRawMode?.(true);
    process.stdout.on("resize", resize);
  }
  let brokenPipe = false;
  const stopAtBrokenPipe = (error: Error) => {
    if (systemErrorCode(error) !== "EPIPE") throw error;
    brokenPipe = true;
    cancel();
  };
  process.stdout.on("error", stopAtBrokenPipe);
  try {
    void pumpInput(command).catch(ignore);
    const outputs = Promise.all([pump(command.stdout, process.stdout), pump(command.stderr, process.stderr)]);
    const [status] = await Promise.all([command.exited(), outputs.catch(ignore)]);
    return status;
  } catch (error) {
    if (brokenPipe) return BROKEN_PIPE_STATUS;
    if (signals.cancelled.aborted && error instanceof KilnError && error.code === "CANCELLED")
      return undefined;
    throw error;
  } finally {
    signals.cancelled.removeEventListener("abort", cancel);
    process.stdout.off("resize", resize);
    if (tty) process.stdin.setRawMode?.(false);
    process.stdin.destroy();
  }
}

async function pumpInput(command: ExecProcess): Promise<void> {
  for await (const chunk of process.stdin) await command.writeStdin(chunk as Buffer);
  await command.endStdin();
}

/** Writes chunks as fast as `target` takes them; what it does not take yet is not asked of the guest either. */
async function pump(source: AsyncIterable<Buffer>, target: NodeJS.WriteStream): Promise<void> {
  for await (const chunk of source) {
    if (!target.write(chunk)) await once(target, "drain");
  }
}
