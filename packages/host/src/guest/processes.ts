import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { delimited } from "./delimited.ts";
import { type ExecOptions, type TerminalSize, toExec } from "./exec.ts";
import { type ExitStatus, signalNumber, toExitStatus } from "./exit-status.ts";
import {
  type Keep,
  type Request,
  ProcessInfo as WireProcessInfo,
  WhenFull as WireWhenFull,
} from "./gen/kiln/agent/v1/agent.ts";
import { type AttachOptions, GuestProcess } from "./guest-process.ts";
import { PROCESS_ID, type ProcessInfo, toProcessInfo, type WhenFull } from "./process-info.ts";
import { unwrapReply } from "./reply.ts";

export interface KeepOptions {
  /** 1 to 64 of a-z, 0-9 and "-"; no other process's in this guest. */
  id: string;
  /** Bytes kept of each output, 1 KiB to 16 MiB. @default 1 MiB */
  bufferBytes?: number;
  /** @default "wait" */
  whenFull?: WhenFull;
}

export interface WriteStdinOptions {
  /** Closes standard input after the last byte. @default false */
  end?: boolean;
  /** Stops sending when it fires. */
  signal?: AbortSignal;
}

const DEFAULT_BUFFER_BYTES = 1024 * 1024;
const BUFFER_BYTES = { min: 1024, max: 16 * 1024 * 1024 };
/** Longest ProcessInfo message: 16 KiB of arguments, each with its key and length, and some numbers. */
const MAX_INFO_BYTES = 65_536;

function checkId(id: string): string {
  if (!PROCESS_ID.test(id))
    throw new KilnError(
      "USAGE",
      `a process id must be 1 to 64 of a-z, 0-9 and "-": ${JSON.stringify(id.slice(0, 80))}`,
    );
  return id;
}

function toKeep({ id, bufferBytes = DEFAULT_BUFFER_BYTES, whenFull = "wait" }: KeepOptions): Keep {
  const { min, max } = BUFFER_BYTES;
  if (!Number.isInteger(bufferBytes) || bufferBytes < min || bufferBytes > max)
    throw new KilnError("USAGE", `buffer_bytes must be ${min} to ${max}: ${bufferBytes}`);
  const wire = whenFull === "wait" ? WireWhenFull.WHEN_FULL_WAIT : WireWhenFull.WHEN_FULL_DROP_OLDEST;
  return { id: checkId(id), bufferBytes, whenFull: wire };
}

/**
 * The processes that a guest keeps: they and their output outlive the connection that started them. Every call throws
 * KilnError `PROCESS_NOT_FOUND` for an id there is not.
 */
export class GuestProcesses {
  readonly #connection: GuestConnection;

  constructor(connection: GuestConnection) {
    this.#connection = connection;
  }

  /**
   * Starts a process that is kept, and reads it. Whether it could be started shows in `started`: `CONFLICT` when there is
   * one of this id, `LIMIT_REACHED`, `GUEST_ERROR`.
   * @throws KilnError `USAGE`.
   */
  start(options: ExecOptions & KeepOptions): GuestProcess {
    const exec = { ...toExec(options), keep: toKeep(options) };
    return new GuestProcess(this.#connection, options.id, {}, exec);
  }

  /** Reads a process that is kept, from the offsets on. */
  attach(id: string, options: AttachOptions = {}): GuestProcess {
    return new GuestProcess(this.#connection, checkId(id), options);
  }

  /** Those that run and the last that ended, oldest first. */
  async list(): Promise<ProcessInfo[]> {
    const stream = this.#connection.open({ kind: { $case: "listProcesses", value: {} } });
    const processes: ProcessInfo[] = [];
    try {
      for await (const message of delimited(stream.output, MAX_INFO_BYTES)) {
        processes.push(toProcessInfo(WireProcessInfo.decode(message)));
      }
      unwrapReply(await stream.reply, "done", "process");
    } finally {
      await stream.cancel();
    }
    return processes;
  }

  /** Waits for the end of one, without its output. A new generation of the guest does not disturb it. */
  async wait(id: string, signal?: AbortSignal): Promise<ExitStatus> {
    checkId(id);
    while (true) {
      signal?.throwIfAborted();
      const value = { id, stdoutOffset: 0n, stderrOffset: 0n, follow: true, silent: true };
      const ignore = { data() {}, end() {}, note() {}, finish() {} };
      const stream = this.#connection.open({ kind: { $case: "attach", value } }, ignore);
      const cancel = () => void stream.cancel().catch(() => undefined);
      signal?.addEventListener("abort", cancel);
      try {
        return toExitStatus(unwrapReply(await stream.reply.catch(again), "exited", "process"));
      } catch (error) {
        if (error !== AGAIN || this.#connection.failure) throw this.#connection.failure ?? error;
      } finally {
        signal?.removeEventListener("abort", cancel);
      }
    }
  }

  /** Signals its whole process group. @throws KilnError `CONFLICT` when it has ended. */
  async signal(id: string, name: string): Promise<void> {
    await this.#perform({ $case: "signalProcess", value: { id: checkId(id), signal: signalNumber(name) } });
  }

  /**
   * Sends standard input; resolves with the bytes its pipe took, all unless it closed it meanwhile.
   * @throws KilnError `CONFLICT` when it takes none.
   */
  async writeStdin(
    id: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    { end = false, signal }: WriteStdinOptions = {},
  ): Promise<number> {
    signal?.throwIfAborted();
    const stream = this.#connection.open({ kind: { $case: "writeStdin", value: { id: checkId(id), end } } });
    const cancel = () => void stream.cancel().catch(() => undefined);
    signal?.addEventListener("abort", cancel);
    let whole = false;
    try {
      for await (const chunk of content instanceof Uint8Array ? [content] : content) {
        if (stream.over) break; // The reply says why.
        await stream.write(chunk);
      }
      await stream.end();
      whole = true;
      return Number(unwrapReply(await stream.reply, "done", "process").size);
    } finally {
      signal?.removeEventListener("abort", cancel);
      if (!whole) await stream.cancel();
    }
  }

  /** @throws KilnError `CONFLICT` when it has no terminal. */
  async resize(id: string, size: TerminalSize): Promise<void> {
    await this.#perform({ $case: "resizeProcess", value: { id: checkId(id), size } });
  }

  /** Kills its process group if it runs, and drops its record and output. */
  async forget(id: string): Promise<void> {
    await this.#perform({ $case: "forgetProcess", value: { id: checkId(id) } });
  }

  async #perform(kind: NonNullable<Request["kind"]>): Promise<void> {
    unwrapReply(await this.#connection.open({ kind }).reply, "done", "process");
  }
}

const AGAIN = Symbol("again");

/** A stream that was cut says so by rejecting. */
function again(): never {
  throw AGAIN;
}
