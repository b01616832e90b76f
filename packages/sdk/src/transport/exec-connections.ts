import { connect, type Socket } from "node:net";
import { fromErrorBody } from "../errors.ts";
import { ConnectionFailure } from "./connection-failure.ts";
import { encodeFrame, type Frame, FrameDecoder, type FrameReader } from "./frames.ts";

/** Begins a connection; the first program is asked for with it. */
const UPGRADE = "GET /v1/exec HTTP/1.1\r\nHost: kiln\r\nConnection: Upgrade\r\nUpgrade: kiln-exec\r\n\r\n";
const HEAD_END = "\r\n\r\n";
const MAX_ANSWER_BYTES = 64 * 1024;
const EVENT = 0;
/** A frame of this channel says that the program's answer is over. */
const END = 3;

export interface RunOptions {
  signal: AbortSignal | undefined;
  /** Gives a daemon up that was silent for so long. */
  idleTimeoutMs: number;
}

/**
 * Connections to a daemon on this machine over which programs are run, one after another on each (docs/api.md): a program that says one
 * line is through a millisecond sooner than by a request of its own. They do not keep this process from ending.
 */
export class ExecConnections {
  readonly #socketPath: string;
  readonly #idle = new Set<ExecConnection>();
  #closed = false;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /**
   * Runs a program, and gives its frames to `onFrame` to the last. Aborting ends the program.
   * @throws ConnectionFailure; what `onFrame` throws; KilnError what the daemon answered; the signal's reason.
   */
  async run(request: object, onFrame: FrameReader, options: RunOptions): Promise<void> {
    const [idle] = this.#idle;
    const connection = idle ?? new ExecConnection(this.#socketPath, (one) => this.#idle.delete(one));
    this.#idle.delete(connection);
    try {
      await connection.run(request, onFrame, options);
    } finally {
      if (this.#closed) connection.destroy();
      else if (connection.usable) this.#idle.add(connection);
    }
  }

  /** Closes those that wait for another program, the others when theirs has ended. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle) connection.destroy();
  }
}

/** The program that is being run. */
interface Running {
  onFrame: FrameReader;
  /** What `onFrame` threw: what follows is not for it. */
  failure: { error: unknown } | undefined;
  resolve: () => void;
  reject: (error: unknown) => void;
}

class ExecConnection {
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();
  /** What has come of the answer to the upgrade; undefined once that is over. */
  #head: Buffer | undefined = Buffer.alloc(0);
  #connected = false;
  #running: Running | undefined;

  constructor(socketPath: string, onClose: (connection: ExecConnection) => void) {
    this.#socket = connect(socketPath);
    let failure: Error | undefined;
    this.#socket.once("connect", () => {
      this.#connected = true;
    });
    this.#socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on("timeout", () => this.#socket.destroy(new Error("it was silent for too long")));
    this.#socket.on("error", (error) => {
      failure = error;
    });
    this.#socket.once("close", () => {
      onClose(this);
      const cause = failure ?? new Error("it was closed");
      this.#running?.reject(new ConnectionFailure(cause, this.#connected));
    });
  }

  /** Whether another program can be run. */
  get usable(): boolean {
    return !this.#socket.destroyed && this.#socket.readable;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async run(request: object, onFrame: FrameReader, { signal, idleTimeoutMs }: RunOptions): Promise<void> {
    const frame = encodeFrame(EVENT, Buffer.from(JSON.stringify(request)));
    const abort = () => this.#socket.destroy();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        this.#running = { onFrame, failure: undefined, resolve, reject };
        this.#socket.ref();
        this.#socket.setTimeout(idleTimeoutMs);
        this.#socket.write(this.#head ? Buffer.concat([Buffer.from(UPGRADE), frame]) : frame);
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#running = undefined;
      this.#socket.setTimeout(0);
      this.#socket.unref();
    }
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#head ? this.#afterHead(Buffer.concat([this.#head, chunk])) : chunk;
    if (bytes === undefined || bytes.length === 0) return;
    const running = this.#running;
    try {
      if (!running) throw new Error("the daemon sent what nobody asked for");
      const full = this.#decoder
        .push(bytes)
        .map((frame) => this.#take(running, frame))
        .filter((room) => room !== undefined);
      if (full.length === 0) return;
      this.#socket.pause();
      Promise.all(full).then(
        () => this.#socket.resume(),
        (error) => this.#give(running, error),
      );
    } catch (error) {
      this.#give(running, error);
    }
  }

  /** This is no connection any more that could be understood. */
  #give(running: Running | undefined, error: unknown): void {
    running?.reject(error);
    this.#socket.destroy();
  }

  #take(running: Running, frame: Frame): Promise<void> | undefined {
    if (frame.channel === END) {
      if (running.failure) running.reject(running.failure.error);
      else running.resolve();
      return undefined;
    }
    if (running.failure) return undefined;
    try {
      return running.onFrame(frame);
    } catch (error) {
      running.failure = { error };
      return undefined;
    }
  }

  /** What follows the answer to the upgrade; undefined as long as that has not come, or when it is a refusal. */
  #afterHead(bytes: Buffer): Buffer | undefined {
    this.#head = bytes;
    const end = bytes.indexOf(HEAD_END);
    if (end < 0 && bytes.length <= MAX_ANSWER_BYTES) return undefined;
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(bytes.toString("latin1", 0, 32))?.[1]);
    const rest = bytes.subarray(end + HEAD_END.length);
    if (status === 101) {
      this.#head = undefined;
      return rest;
    }
    let refusal: unknown;
    try {
      refusal = JSON.parse(rest.toString("utf8"));
    } catch {
      if (bytes.length <= MAX_ANSWER_BYTES) return undefined; // There is more of it to come, or the end.
    }
    this.#give(this.#running, fromErrorBody(refusal, { status, request: "GET /v1/exec" }));
    return undefined;
  }
}
