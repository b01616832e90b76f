import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** How long a process of ours may take to be ready, in milliseconds: a moment, but on an emulated processor. */
export const READY_PATIENCE_MS = 60_000;

/** A process ended before it said anything. */
export class EndedError extends Error {
  readonly exitCode: number | null;
  readonly killedBy: NodeJS.Signals | null;

  constructor(exitCode: number | null, killedBy: NodeJS.Signals | null) {
    const known = killedBy === null ? `it ended with exit code ${exitCode}` : `it was killed (${killedBy})`;
    super(exitCode === null && killedBy === null ? "it ended" : known);
    this.exitCode = exitCode;
    this.killedBy = killedBy;
  }
}

/**
 * Waits for the next thing that `child` says on its standard output, a pipe that nobody else reads: a process of ours says a line of
 * less than a pipe's atomic write when it is ready, or why it will not be.
 * @returns the line.
 * @throws EndedError when it ends without a word; the error of a spawn that failed; an AbortError after `READY_PATIENCE_MS`, or by `signal`.
 */
export async function firstLine(child: ChildProcess, signal?: AbortSignal): Promise<string> {
  const { stdout, exitCode, signalCode } = child;
  if (stdout === null) throw new Error("it has no output");
  // It has ended, and was heard out: no event will tell.
  if (stdout.closed && (exitCode ?? signalCode) !== null) throw new EndedError(exitCode, signalCode);
  const settled = new AbortController();
  const timeout = AbortSignal.timeout(READY_PATIENCE_MS);
  const either = AbortSignal.any([settled.signal, timeout, ...(signal === undefined ? [] : [signal])]);
  try {
    return await Promise.race([
      once(stdout.setEncoding("utf8"), "data", { signal: either }).then(([line]) => String(line).trim()),
      // "close" rather than "exit": by then what it said has been read.
      once(child, "close", { signal: either }).then(([exitCode, killedBy]) => {
        throw new EndedError(exitCode, killedBy);
      }),
    ]);
  } finally {
    settled.abort();
  }
}
