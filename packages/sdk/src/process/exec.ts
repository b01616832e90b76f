import type { Transport } from "../transport/transport.ts";
import type { CallOptions, ProcessInfo } from "../types.ts";
import { outputStream, STREAM_OPTIONS } from "./output-stream.ts";

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** What is sent of the input with one request. */
const INPUT_CHUNK_BYTES = 1024 * 1024;

export interface ExecOptions extends CallOptions {
  env?: Record<string, string>;
  /** Working directory. @default the template's */
  cwd?: string;
  /** name, name:group, uid or uid:gid. @default the template's */
  user?: string;
  /** Its standard input. @default nothing */
  input?: string | Uint8Array;
  /** Kills it after so many milliseconds. @default never */
  timeoutMs?: number;
  /** Most that is kept of each output; what is more is dropped and `truncated` says so. @default 16 MiB */
  maxOutputBytes?: number;
  /** `utf8` for text, `bytes` for what it wrote. @default "utf8" */
  encoding?: "utf8" | "bytes";
}

/** What a program that was run to its end did. */
export interface ExecResult<Output = string> {
  stdout: Output;
  stderr: Output;
  /** 128 + n for a program ended by signal n. */
  exitCode: number;
  /** The signal that ended it. */
  signal: string | undefined;
  timedOut: boolean;
  /** Whether output is missing. */
  truncated: boolean;
}

/**
 * @internal Runs a program to its end as a process with its output attached, which a restart of the daemon does not end.
 * @param body what to start, in the daemon's terms.
 */
export async function exec(
  transport: Transport,
  sandboxId: string,
  body: Record<string, unknown>,
  { input, maxOutputBytes = MAX_OUTPUT_BYTES, encoding = "utf8", signal }: ExecOptions,
): Promise<ExecResult<string | Buffer>> {
  const path = `/v1/sandboxes/${sandboxId}/processes`;
  const bytes = typeof input === "string" ? Buffer.from(input) : input;
  const json = { ...body, stdin: bytes !== undefined && bytes.length > 0 };
  const events = outputStream({
    transport,
    sandboxId,
    open: () => transport.send("POST", path, { ...STREAM_OPTIONS, query: { attach: true }, json, signal }),
    offsets: { stdout: 0, stderr: 0 },
    follow: true,
    signal,
  });
  const kept = { stdout: new Kept(maxOutputBytes), stderr: new Kept(maxOutputBytes) };
  let process: ProcessInfo | undefined;
  const over = new AbortController();
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (done) {
        process = undefined;
        return {
          stdout: kept.stdout.take(encoding),
          stderr: kept.stderr.take(encoding),
          exitCode: value.exitCode ?? 0,
          signal: value.signal,
          timedOut: value.timedOut ?? false,
          truncated: kept.stdout.truncated || kept.stderr.truncated,
        };
      }
      if (value.type === "started") {
        process = value.process;
        // It need not read its input: a failure to write it is no failure of the program.
        if (bytes?.length)
          sendInput(transport, `${path}/${process.id}`, bytes, over.signal).catch(() => undefined);
      } else if (value.type === "dropped") kept[value.channel].truncated = true;
      else kept[value.type].add(value.data);
    }
  } finally {
    over.abort();
    // The daemon kills what its first connection belongs to when that goes away; after a cut this one may be another.
    if (process !== undefined) transport.json("DELETE", `${path}/${process.id}`).catch(() => undefined);
  }
}

async function sendInput(
  transport: Transport,
  path: string,
  input: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < input.length; at += INPUT_CHUNK_BYTES) {
    const body = input.subarray(at, at + INPUT_CHUNK_BYTES);
    const end = at + INPUT_CHUNK_BYTES >= input.length;
    await transport.json("POST", `${path}/stdin`, { body, query: { end }, signal });
  }
}

/** Output up to a limit. */
class Kept {
  truncated = false;
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #size = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(bytes: Buffer): void {
    const room = this.#limit - this.#size;
    if (bytes.length > room) this.truncated = true;
    if (room <= 0) return;
    this.#chunks.push(bytes.subarray(0, room));
    this.#size += Math.min(bytes.length, room);
  }

  take(encoding: "utf8" | "bytes"): string | Buffer {
    const bytes = Buffer.concat(this.#chunks, this.#size);
    return encoding === "bytes" ? bytes : bytes.toString("utf8");
  }
}
