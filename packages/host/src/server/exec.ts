import { isUtf8 } from "node:buffer";
import { randomUUID } from "node:crypto";
import type { z } from "zod";
import type { GuestAgent } from "../guest/agent.ts";
import { shellExitCode } from "../guest/exec.ts";
import type { GuestProcess } from "../guest/guest-process.ts";
import type { Exec, ExecResult, StartProcess } from "./schemas/process.ts";

/** Kept in the guest of a program that is run to its end, of each output: what is on its way. */
const EXEC_BUFFER_BYTES = 256 * 1024;

/** 16 hexadecimal digits; UUIDs are made ahead, several at once. */
export const newProcessId = (): string => randomUUID().replaceAll("-", "").slice(16);

type Program = Pick<
  z.output<typeof Exec> & z.output<typeof StartProcess>,
  "argv" | "env" | "cwd" | "user" | "timeout_ms"
>;

/** What to start, in the guest's terms; `env` of the sandbox lies below that of the program. */
export function toExecOptions(
  program: Partial<Program> & Pick<Program, "argv">,
  env: Record<string, string>,
) {
  const { argv, cwd, user, timeout_ms } = program;
  return {
    argv,
    env: { ...env, ...program.env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user }),
    ...(timeout_ms === undefined ? {} : { timeoutMs: timeout_ms }),
  };
}

/** Runs a program to its end and collects its output. It is killed when `signal` fires. */
export async function execToEnd(
  agent: GuestAgent,
  body: z.output<typeof Exec>,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<z.infer<typeof ExecResult>> {
  const id = newProcessId();
  const input =
    body.input_base64 === undefined
      ? Buffer.from(body.input ?? "")
      : Buffer.from(body.input_base64, "base64");
  const process = agent.start({
    ...toExecOptions(body, env),
    id,
    stdin: input.length > 0,
    bufferBytes: EXEC_BUFFER_BYTES,
    whenFull: "wait",
  });
  const forget = () => void agent.forget(id).catch(() => undefined); // A VM that is gone has forgotten it.
  signal.addEventListener("abort", forget);
  try {
    if (input.length > 0) {
      await process.started;
      agent.writeStdin(id, input, { end: true }).catch(() => undefined); // It need not read all of it.
    }
    const output = await collect(process, body.max_output_bytes);
    const status = await process.exited();
    if (status === undefined) throw new Error("the program's end is not known");
    return {
      exit_code: shellExitCode(status),
      ...(status.signal === undefined ? {} : { signal: status.signal }),
      timed_out: status.timedOut,
      ...text("stdout", output.stdout),
      ...text("stderr", output.stderr),
      truncated: output.truncated,
    } as z.infer<typeof ExecResult>;
  } finally {
    signal.removeEventListener("abort", forget);
    forget();
  }
}

async function collect(process: GuestProcess, limit: number) {
  const kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const sizes = { stdout: 0, stderr: 0 };
  let truncated = false;
  for await (const { channel, bytes } of process.output) {
    const room = limit - sizes[channel];
    if (bytes.length > room) truncated = true;
    if (room > 0) kept[channel].push(bytes.subarray(0, room));
    sizes[channel] += Math.min(bytes.length, room);
  }
  return { stdout: Buffer.concat(kept.stdout), stderr: Buffer.concat(kept.stderr), truncated };
}

/** Output as text, and as base64 besides where it is no text. */
function text(name: "stdout" | "stderr", bytes: Buffer): Record<string, string> {
  return isUtf8(bytes)
    ? { [name]: bytes.toString("utf8") }
    : { [name]: bytes.toString("utf8"), [`${name}_base64`]: bytes.toString("base64") };
}
