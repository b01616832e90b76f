import { KilnError } from "@kiln/host/errors.ts";
import { shellExitCode } from "@kiln/host/guest/exec.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { createProgress } from "../output/progress.ts";
import type { Signals } from "../signals.ts";
import { attach } from "./attach.ts";

const TIMED_OUT_EXIT_CODE = 124;
/** bash where the image has it, else sh. */
const SHELL = ["/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi"];

export interface RunRequest {
  template: string;
  /** Program and arguments; none for a shell. */
  argv: string[];
  env?: Record<string, string>;
  cwd?: string;
  user?: string;
  vcpu?: number;
  memoryMib?: number;
  timeoutMs?: number;
  /** Whether the command gets a terminal. */
  tty: boolean;
}

/** Runs a command in a fresh sandbox with this process's standard streams; returns the exit code to end with. */
export async function runCommand(request: RunRequest, signals: Signals): Promise<number> {
  const { template, argv, vcpu, memoryMib, timeoutMs, tty, ...rest } = request;
  const signal = signals.cancelled;
  await using host = await SandboxHost.open(KilnHome.fromEnvironment());
  host.warm();
  const bootable = await host.prepare(template, {
    signal,
    onProgress: createProgress(),
    ...(vcpu === undefined ? {} : { vcpu }),
    ...(memoryMib === undefined ? {} : { memoryMib }),
  });
  await using sandbox = await host.start(bootable, signal);
  const command = sandbox.agent.exec({
    ...rest,
    argv: argv.length === 0 ? SHELL : argv,
    stdin: true,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(tty ? { terminal: terminalSize() } : {}),
  });
  const status = await attach(command, signals, tty);
  if (status === undefined) throw new KilnError("CANCELLED", "cancelled");
  return status.timedOut ? TIMED_OUT_EXIT_CODE : shellExitCode(status);
}

function terminalSize(): { rows: number; columns: number } {
  return { rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 };
}
