import type { Duplex } from "node:stream";
import { KilnError } from "../errors.ts";
import { GuestConnection, type HandshakeOptions } from "./connection.ts";
import { type ExecOptions, type ExecProcess, type ExitStatus, exec, shellExitCode } from "./exec.ts";
import { GuestFiles } from "./files.ts";
import type { Ready } from "./gen/kiln/agent/v1/agent.ts";
import { unwrapReply } from "./reply.ts";

/** What a program that was run to its end left. */
export interface ExecResult extends ExitStatus {
  /** The exit code, or 128 plus the number of the signal that ended it. */
  exitCode: number;
  /** Output as UTF-8 text. */
  stdout: string;
  stderr: string;
  /** Whether output beyond the limit was thrown away. */
  truncated: boolean;
}

export interface RunOptions {
  /** Bytes kept of each output. @default 16 MiB */
  maxOutputBytes?: number;
  /** Kills the program when it fires. */
  signal?: AbortSignal;
  /** Sent as standard input. */
  input?: Uint8Array;
}

const DEFAULT_MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** The agent inside one guest: everything the host can ask of it. */
export class GuestAgent {
  readonly files: GuestFiles;
  readonly #connection: GuestConnection;

  /** `explain` is asked for the reason when the wire breaks. */
  constructor(wire: Duplex, explain?: () => Promise<KilnError>) {
    this.#connection = new GuestConnection(wire, explain);
    this.files = new GuestFiles(this.#connection);
  }

  /** Resolves, with the reason, when the guest is out of reach for good. */
  get closed(): Promise<KilnError> {
    return this.#connection.closed;
  }

  handshake(options: HandshakeOptions): Promise<Ready> {
    return this.#connection.handshake(options);
  }

  /** Starts a program. */
  exec(options: ExecOptions): ExecProcess {
    return exec(this.#connection, options);
  }

  /** Runs a program to its end and collects its output. */
  async run(
    options: ExecOptions,
    { maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES, signal, input }: RunOptions = {},
  ): Promise<ExecResult> {
    signal?.throwIfAborted();
    const process = this.exec({ ...options, stdin: input !== undefined });
    const cancel = () => void process.cancel().catch(() => undefined);
    signal?.addEventListener("abort", cancel);
    try {
      const [stdout, stderr, status] = await Promise.all([
        collect(process.stdout, maxOutputBytes),
        collect(process.stderr, maxOutputBytes),
        process.exited(),
        input === undefined ? undefined : process.writeStdin(input).then(() => process.endStdin()),
      ]);
      return {
        ...status,
        exitCode: shellExitCode(status),
        stdout: stdout.text,
        stderr: stderr.text,
        truncated: stdout.truncated || stderr.truncated,
      };
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** A round trip to the agent. */
  async ping(): Promise<void> {
    unwrapReply(await this.#connection.open({ kind: { $case: "ping", value: {} } }).reply, "done");
  }

  /** Makes the agent stand still for a snapshot; nothing may be asked of it before the next handshake. */
  async freeze(): Promise<void> {
    unwrapReply(await this.#connection.open({ kind: { $case: "freeze", value: {} } }).reply, "done");
  }

  /** Gives the guest up: everything that is under way ends with `error`. */
  fail(error: KilnError): void {
    this.#connection.fail(error);
  }

  close(): void {
    this.fail(new KilnError("VM_FAILED", "the connection to the guest was closed"));
  }
}

async function collect(
  chunks: AsyncIterable<Buffer>,
  limit: number,
): Promise<{ text: string; truncated: boolean }> {
  const kept: Buffer[] = [];
  let size = 0;
  let truncated = false;
  for await (const chunk of chunks) {
    const room = limit - size;
    if (chunk.length > room) truncated = true;
    if (room > 0) kept.push(chunk.subarray(0, room));
    size += Math.min(chunk.length, room);
  }
  return { text: Buffer.concat(kept).toString("utf8"), truncated };
}
