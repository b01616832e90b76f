import { shellExitCode } from "../guest/exec.ts";
import type { ProcessInfo } from "../guest/process-info.ts";
import type { Process } from "./schemas/process.ts";

/** A process of a guest, as a client is told of it. */
export function toProcess(info: ProcessInfo): Process {
  const { id, argv, exit, startedAt, terminal, whenFull, stdoutBytes, stderrBytes } = info;
  return {
    id,
    argv,
    state: exit === undefined ? "running" : "exited",
    ...(exit === undefined ? {} : { exit_code: shellExitCode(exit), timed_out: exit.timedOut }),
    ...(exit?.signal === undefined ? {} : { signal: exit.signal }),
    started_at: startedAt.toISOString(),
    background: whenFull === "drop-oldest",
    terminal,
    stdout_bytes: stdoutBytes,
    stderr_bytes: stderrBytes,
  };
}
