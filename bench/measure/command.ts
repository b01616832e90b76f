import { spawn } from "node:child_process";
import { once } from "node:events";

const MAX_ERRORS_CHARACTERS = 2_000;
const TIMEOUT_MS = 10 * 60_000;

export interface TimedCommand {
  /** Milliseconds from starting the process to its end. */
  ms: number;
  stdout: string;
}

/** Runs a command to its end and takes the time; one that does not end with 0 is an error with its last words. */
export async function timeCommand(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<TimedCommand> {
  const started = performance.now();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], signal: limit });
  let stdout = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-MAX_ERRORS_CHARACTERS);
  });
  const [code] = await once(child, "close");
  const ms = performance.now() - started;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${errors.trim()}`);
  return { ms, stdout };
}
