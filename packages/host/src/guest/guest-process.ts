import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { type ExitStatus, toExitStatus } from "./exit-status.ts";
import { ErrorCode, type Exec, type Reply, type Request } from "./gen/kiln/agent/v1/agent.ts";
import { HOST_WINDOW_BYTES } from "./handshake.ts";
import { type OutputChannel, type OutputPiece, OutputQueue } from "./output-queue.ts";
import { type ProcessInfo, toProcessInfo } from "./process-info.ts";
import { type Offsets, ProcessReader, type ReceivedPiece } from "./process-reader.ts";
import { toKilnError, unexpectedReply } from "./reply.ts";
import type { GuestStream } from "./stream.ts";

export interface AttachOptions {
  /** Bytes of output its reader has already. @default 0 */
  stdoutOffset?: number;
  stderrOffset?: number;
  /** Whether to go on until the process has ended. @default true */
  follow?: boolean;
}

/** What becomes of an attachment's end. */
type Outcome =
  | { kind: "ended"; exit: ExitStatus | undefined }
  | { kind: "failed"; error: KilnError }
  /** The stream was cut, the process was not. */
  | { kind: "again" };

/**
 * One reader of a process that the guest keeps. Goes on by itself when the connection gets a new generation or
 * another wire: nothing is given twice, and what is missing is told. Read the output: a process that waits when its
 * output is full waits for this reader. Letting go of it (`detach`) leaves the process alone.
 */
export class GuestProcess {
  readonly id: string;
  readonly #connection: GuestConnection;
  readonly #follow: boolean;
  readonly #queue = new OutputQueue<ReceivedPiece>(
    ({ channel, offset, bytes }) => {
      this.#given[channel] = offset + bytes.length;
    },
    (piece) => this.#taken(piece),
  );
  readonly #started = Promise.withResolvers<ProcessInfo>();
  readonly #ended = Promise.withResolvers<ExitStatus | undefined>();
  /** The request that starts it, as long as it is not known to have been heard. */
  #starting: Exec | undefined;
  /** Whether that request was sent before. */
  #repeated = false;
  #stream: GuestStream | undefined;
  #reader: ProcessReader | undefined;
  /** It has ended, or was let go of. */
  #over = false;
  /** Up to where its reader was given output, which it need not be done with. */
  readonly #given: Offsets;
  /** What its reader is done with. */
  readonly #done: Offsets;
  /** What the guest knows it to be done with. */
  readonly #acknowledged: Offsets;

  /** `starting` starts the process, of which this is then the first reader. */
  constructor(connection: GuestConnection, id: string, options: AttachOptions, starting?: Exec) {
    this.id = id;
    this.#connection = connection;
    this.#follow = options.follow ?? true;
    this.#starting = starting;
    this.#given = { stdout: options.stdoutOffset ?? 0, stderr: options.stderrOffset ?? 0 };
    this.#done = { ...this.#given };
    this.#acknowledged = { ...this.#given };
    this.#started.promise.catch(() => undefined); // Whoever wants to know awaits them.
    this.#ended.promise.catch(() => undefined);
    void this.#run();
  }

  /** The process as it was when this reader came to it. @throws KilnError when it is not there or could not be started. */
  get started(): Promise<ProcessInfo> {
    return this.#started.promise;
  }

  /** Both outputs, in the order they came. Whoever asks for the next piece is done with the last one. */
  get output(): AsyncIterable<OutputPiece> {
    return this.#queue.read();
  }

  get stdout(): AsyncIterable<OutputPiece> {
    return this.#queue.read("stdout");
  }

  get stderr(): AsyncIterable<OutputPiece> {
    return this.#queue.read("stderr");
  }

  /** What its reader is done with: where another `attach` goes on. */
  get offsets(): Readonly<Offsets> {
    return { ...this.#done };
  }

  /**
   * How the process ended; undefined when this reader does not follow it and it runs. Comes after all output was read.
   * @throws KilnError `PROCESS_NOT_FOUND`, `CANCELLED` when it was forgotten or this reader let go of, `GUEST_ERROR` when
   * it could not be started, `VM_FAILED` when the VM went away.
   */
  exited(): Promise<ExitStatus | undefined> {
    return this.#ended.promise;
  }

  /** The process as `exited` tells of it; undefined when that does not know its end. */
  async ended(): Promise<ProcessInfo | undefined> {
    const exit = await this.exited();
    const reader = this.#reader;
    if (exit === undefined || !reader) return undefined;
    const { stdout: stdoutBytes, stderr: stderrBytes } = reader.reached;
    return { ...(await this.started), exit, stdoutBytes, stderrBytes, stdinOpen: false };
  }

  /** Lets go of the process, which goes on. Its output ends here. */
  async detach(): Promise<void> {
    if (this.#over) return;
    this.#acknowledge(1);
    const error = new KilnError("CANCELLED", "the process was let go of");
    this.#finish({ kind: "failed", error }, true);
    await this.#stream?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach().catch(() => undefined); // A broken connection holds nothing.
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      const outcome = await this.#attach();
      if (outcome.kind === "again") {
        this.#repeated = true;
        continue;
      }
      this.#finish(outcome);
      return;
    }
  }

  #finish(outcome: Exclude<Outcome, { kind: "again" }>, quietly = false): void {
    this.#over = true;
    if (outcome.kind === "ended") {
      this.#queue.end();
      this.#ended.resolve(outcome.exit);
      return;
    }
    this.#started.reject(outcome.error);
    this.#queue.end(quietly ? undefined : outcome.error);
    this.#ended.reject(outcome.error);
  }

  /** One attachment, from its beginning to its end. */
  async #attach(): Promise<Outcome> {
    // What was given to a reader who has not come back is not its again; all else the guest sends once more.
    this.#queue.clear();
    let stream: GuestStream | undefined;
    const reader = new ProcessReader(
      this.#done,
      this.#given,
      this.#queue,
      (process) => {
        this.#starting = undefined;
        this.#started.resolve(process);
      },
      (bytes) => stream?.consumed(bytes),
    );
    try {
      stream = this.#connection.open(this.#request(), reader);
    } catch (error) {
      return { kind: "failed", error: toError(error) };
    }
    this.#stream = stream;
    this.#reader = reader;
    Object.assign(this.#acknowledged, this.#done); // The request says so.
    try {
      return this.#outcome(await stream.reply);
    } catch (error) {
      if (this.#connection.failure || !(error instanceof KilnError)) {
        return { kind: "failed", error: this.#connection.failure ?? toError(error) };
      }
      return { kind: "again" };
    }
  }

  #request(): Request {
    if (this.#starting) return { kind: { $case: "exec", value: this.#starting } };
    const { stdout, stderr } = this.#done;
    return {
      kind: {
        $case: "attach",
        value: {
          id: this.id,
          stdoutOffset: BigInt(stdout),
          stderrOffset: BigInt(stderr),
          follow: this.#follow,
          silent: false,
        },
      },
    };
  }

  #outcome(reply: Reply): Outcome {
    const { kind } = reply;
    try {
      if (kind?.$case === "exited") return { kind: "ended", exit: toExitStatus(kind.value) };
      if (kind?.$case === "process") return { kind: "ended", exit: toProcessInfo(kind.value).exit };
    } catch (error) {
      return { kind: "failed", error: toError(error) };
    }
    if (kind?.$case !== "error") return { kind: "failed", error: unexpectedReply(reply, "exited") };
    if (this.#starting && this.#repeated && kind.value.code === ErrorCode.ERROR_CODE_EXISTS) {
      this.#starting = undefined; // The first request was heard after all.
      return { kind: "again" };
    }
    return { kind: "failed", error: toKilnError(kind.value, this.#starting ? "program" : "process") };
  }

  #taken(piece: ReceivedPiece): void {
    const { channel, bytes, offset, reader } = piece;
    this.#done[channel] = offset + bytes.length;
    if (reader !== this.#reader) return; // The guest has sent it to an earlier stream.
    this.#stream?.consumed(bytes.length);
    const buffer = reader.process?.bufferBytes ?? HOST_WINDOW_BYTES;
    this.#acknowledge(Math.max(1, Math.min(HOST_WINDOW_BYTES, buffer) / 4));
  }

  /** Tells the guest what the reader is done with, when that has become at least so much more. */
  #acknowledge(stepBytes: number): void {
    if (!this.#follow || this.#reader?.process?.whenFull !== "wait") return;
    const channels: readonly OutputChannel[] = ["stdout", "stderr"];
    if (channels.every((channel) => this.#done[channel] - this.#acknowledged[channel] < stepBytes)) return;
    Object.assign(this.#acknowledged, this.#done);
    const value = { stdoutOffset: BigInt(this.#done.stdout), stderrOffset: BigInt(this.#done.stderr) };
    this.#stream?.control({ kind: { $case: "acknowledge", value } }).catch(() => undefined); // `exited` tells.
  }
}

function toError(error: unknown): KilnError {
  return error instanceof KilnError ? error : new KilnError("INTERNAL", String(error), { cause: error });
}
