import type { Duplex } from "node:stream";
import { KilnError } from "../errors.ts";
import { type Explain, GuestConnection, type HandshakeOptions } from "./connection.ts";
import {
  type ExecOptions,
  type ExecProcess,
  type ExitStatus,
  exec,
  shellExitCode,
  type TerminalSize,
} from "./exec.ts";
import { GuestFiles } from "./files.ts";
import type { Ready } from "./gen/kiln/agent/v1/agent.ts";
import type { AttachOptions, GuestProcess } from "./guest-process.ts";
import { type ProcessInfo, toSafeNumber } from "./process-info.ts";
import { GuestProcesses, type KeepOptions, type WriteStdinOptions } from "./processes.ts";
import { unwrapReply } from "./reply.ts";
import { openTunnel } from "./tunnel.ts";

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

/** What a guest uses now. */
export interface GuestUsage {
  /** Processes, the kernel's own threads apart. */
  processes: number;
  memoryTotalBytes: number;
  memoryAvailableBytes: number;
  /** Load average of one minute. */
  load: number;
  /** Of the root file system. */
  diskTotalBytes: number;
  diskUsedBytes: number;
}

const DEFAULT_MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** The agent inside one guest: everything the host can ask of it. */
export class GuestAgent {
  readonly files: GuestFiles;
  readonly #processes: GuestProcesses;
  readonly #connection: GuestConnection;

  /** `explain` is asked for the reason when the wire breaks. */
  constructor(wire: Duplex, explain?: Explain) {
    this.#connection = new GuestConnection(wire, explain);
    this.files = new GuestFiles(this.#connection);
    this.#processes = new GuestProcesses(this.#connection);
  }

  /** Resolves, with the reason, when the guest is out of reach for good. */
  get closed(): Promise<KilnError> {
    return this.#connection.closed;
  }

  /** The guest's generation: the greatest this host knows of. The next handshake takes a greater one. */
  get generation(): number {
    return this.#connection.generation;
  }

  /** Greets the guest. What was open is over; those who read kept processes go on by themselves. */
  handshake(options: HandshakeOptions): Promise<Ready> {
    return this.#connection.handshake(options);
  }

  /** Starts a program. */
  exec(options: ExecOptions): ExecProcess {
    return exec(this.#connection, options);
  }

  /** Starts a program that outlives the connection, and reads it; see `GuestProcesses`, as for all that names an id. */
  start(options: ExecOptions & KeepOptions): GuestProcess {
    return this.#processes.start(options);
  }

  /** Reads a program that is kept, from the offsets on. */
  attach(id: string, options?: AttachOptions): GuestProcess {
    return this.#processes.attach(id, options);
  }

  /** The processes that are kept: those that run and the last that ended, oldest first. */
  list(): Promise<ProcessInfo[]> {
    return this.#processes.list();
  }

  /** Waits for the end of a process that is kept. */
  wait(id: string, signal?: AbortSignal): Promise<ExitStatus> {
    return this.#processes.wait(id, signal);
  }

  signal(id: string, name: string): Promise<void> {
    return this.#processes.signal(id, name);
  }

  writeStdin(
    id: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: WriteStdinOptions,
  ): Promise<number> {
    return this.#processes.writeStdin(id, content, options);
  }

  resize(id: string, size: TerminalSize): Promise<void> {
    return this.#processes.resize(id, size);
  }

  /** Kills a kept process's group if it runs, and drops its record and output. */
  forget(id: string): Promise<void> {
    return this.#processes.forget(id);
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

  /**
   * Connects to a TCP port of the guest: 127.0.0.1, or else ::1.
   * @throws KilnError `PORT_UNREACHABLE` when nothing listens there.
   */
  connect(port: number, signal?: AbortSignal): Promise<Duplex> {
    return openTunnel(this.#connection, port, signal);
  }

  async usage(): Promise<GuestUsage> {
    const stream = this.#connection.open({ kind: { $case: "usage", value: {} } });
    const usage = unwrapReply(await stream.reply, "usage");
    return {
      processes: usage.processes,
      memoryTotalBytes: toSafeNumber(usage.memoryTotal),
      memoryAvailableBytes: toSafeNumber(usage.memoryAvailable),
      load: usage.loadMilli / 1000,
      diskTotalBytes: toSafeNumber(usage.diskTotal),
      diskUsedBytes: toSafeNumber(usage.diskUsed),
    };
  }

  /**
   * Makes the agent stand still for a snapshot. What is asked of it from now on waits for the next handshake; what
   * is open ends then.
   */
  freeze(): Promise<void> {
    return this.#connection.freeze();
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
