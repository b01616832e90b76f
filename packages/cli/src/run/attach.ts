import { once } from "node:events";
import type { ExitStatus, SandboxProcess } from "@kiln/sdk/process/process.ts";
import type { Signals } from "../signals.ts";

/** What a shell reports for a program that wrote into a closed pipe. */
const BROKEN_PIPE_STATUS: ExitStatus = { exitCode: 128 + 13, signal: "SIGPIPE", timedOut: false };
const TIMED_OUT_EXIT_CODE = 124;
/** Ctrl-P and then Ctrl-Q, as elsewhere: leave it running. */
const DETACH_KEYS = Buffer.of(0x10, 0x11);

export interface AttachRequest {
  signals: Signals;
  /** Whether the process has a terminal, which is then this one. */
  tty: boolean;
  /** Whether it gets this process's standard input. */
  stdin: boolean;
  /** Whether signals go to the process; else they only end the attachment. */
  forwardSignals: boolean;
  /** Whether Ctrl-P Ctrl-Q leaves it alone. */
  detachKeys?: boolean;
}

export type Attached =
  | { how: "ended"; exitCode: number }
  /** It was left running. */
  | { how: "detached" }
  | { how: "cancelled" };

/** Connects this process's standard streams, signals and, with `tty`, its terminal to a process in a sandbox, until it ends. */
export async function attach(process_: SandboxProcess, request: AttachRequest): Promise<Attached> {
  const { signals, tty, stdin, forwardSignals } = request;
  const ignore = () => undefined; // A process that is gone shows in its output's end.
  let detached = false;
  let brokenPipe = false;
  const kill = () => void process_.kill().catch(ignore);
  const letGo = () => {
    detached = true;
    process_.detach();
  };
  const onCancel = forwardSignals ? kill : letGo;
  signals.cancelled.addEventListener("abort", onCancel);
  if (forwardSignals) signals.forwardTo((name) => void process_.signal(name).catch(ignore));
  const resize = () => void process_.resize(terminalSize()).catch(ignore);
  if (tty && stdin) process.stdin.setRawMode?.(true);
  if (tty) process.stdout.on("resize", resize);
  const onBrokenPipe = (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    brokenPipe = true;
    if (forwardSignals) kill();
    else letGo();
  };
  process.stdout.on("error", onBrokenPipe);
  try {
    if (stdin) void pumpInput(process_, request.detachKeys ? letGo : undefined).catch(ignore);
    await pumpOutput(process_);
    return ended(await process_.wait());
  } catch (error) {
    if (brokenPipe) return ended(BROKEN_PIPE_STATUS);
    if (detached) return { how: "detached" };
    if (signals.cancelled.aborted) return { how: "cancelled" };
    throw error;
  } finally {
    signals.cancelled.removeEventListener("abort", onCancel);
    process.stdout.off("resize", resize);
    if (tty && stdin) process.stdin.setRawMode?.(false);
    if (stdin) process.stdin.destroy();
  }
}

const ended = ({ exitCode, timedOut }: ExitStatus): Attached => ({
  how: "ended",
  exitCode: timedOut ? TIMED_OUT_EXIT_CODE : exitCode,
});

/** Size of this terminal, or a usual one. */
export function terminalSize(): { rows: number; columns: number } {
  return { rows: process.stdout.rows || 24, columns: process.stdout.columns || 80 };
}

async function pumpInput(target: SandboxProcess, detach: (() => void) | undefined): Promise<void> {
  let last = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    if (detach) {
      const keys = Buffer.concat([Buffer.of(last), chunk]);
      if (keys.includes(DETACH_KEYS)) return detach();
      last = chunk.at(-1) ?? 0;
    }
    await target.write(chunk);
  }
  await target.end();
}

/** Writes chunks as fast as this process's own streams take them; what they do not take yet is not asked of the guest either. */
async function pumpOutput(source: SandboxProcess): Promise<void> {
  for await (const event of source.output) {
    if (event.type === "dropped") {
      process.stderr.write(`kiln: ${event.bytes} bytes of ${event.channel} are no longer there\n`);
      continue;
    }
    const target = event.type === "stdout" ? process.stdout : process.stderr;
    if (!target.write(event.data)) await once(target, "drain");
  }
}
