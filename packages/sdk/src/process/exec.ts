import { type FrameReader, readFrames } from "../transport/frames.ts";
import type { Transport } from "../transport/transport.ts";
import type { CallOptions } from "../types.ts";
import { readOutput, STREAM_OPTIONS } from "./output-stream.ts";

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
  const stream = {
    transport,
    sandboxId,
    open: (take: FrameReader) => startOver(transport, sandboxId, json, signal, take),
    offsets: { stdout: 0, stderr: 0 },
    follow: true,
    signal,
  };
  const kept = { stdout: new Kept(maxOutputBytes), stderr: new Kept(maxOutputBytes) };
  let running: string | undefined;
  const over = bytes?.length ? new AbortController() : undefined;
  try {
    const end = await readOutput(stream, {
      started({ id }) {
        running = id;
        // It need not read its input: a failure to write it is no failure of the program.
        if (bytes && over) sendInput(transport, `${path}/${id}`, bytes, over.signal).catch(() => undefined);
      },
      output(event) {
        if (event.type === "dropped") kept[event.channel].truncated = true;
        else kept[event.type].add(event.data);
        return undefined;
      },
    });
    running = undefined;
    return {
      stdout: kept.stdout.take(encoding),
      stderr: kept.stderr.take(encoding),
      exitCode: end.exitCode ?? 0,
      signal: end.signal,
      timedOut: end.timedOut ?? false,
      truncated: kept.stdout.truncated || kept.stderr.truncated,
    };
  } finally {
    over?.abort();
    // The daemon kills what its first connection belongs to when that goes away; after a cut this one may be another.
    if (running !== undefined) transport.json("DELETE", `${path}/${running}`).catch(() => undefined);
  }
}

/** Starts a program and reads its output to the end: over a connection for programs where there are such, else by a request. */
async function startOver(
  transport: Transport,
  sandboxId: string,
  json: Record<string, unknown>,
  signal: AbortSignal | undefined,
  take: FrameReader,
): Promise<void> {
  const { execConnections } = transport;
  if (execConnections) {
    const request = { sandbox: sandboxId, ...json };
    await transport.attempt("GET /v1/exec", { repeatable: false, signal }, () =>
      execConnections.run(request, take, { ...STREAM_OPTIONS, signal }),
    );
    return;
  }
  const path = `/v1/sandboxes/${sandboxId}/processes`;
  const options = { ...STREAM_OPTIONS, query: { attach: true }, json, signal };
  await readFrames(await transport.send("POST", path, options), take);
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
