import { connect, type Socket } from "node:net";
import { KilnError } from "../errors.ts";
import {
  CONTROL_VERSION,
  ControlAnswer,
  type ControlRequest,
  Greeting,
  MAX_LINE,
} from "./control-protocol.ts";
import { LineSplitter } from "./lines.ts";

/** Longest wait for an answer. The slowest request, sealing, brings a whole diff to the disk. */
const ANSWER_TIMEOUT_MS = 120_000;
const GREETING_TIMEOUT_MS = 10_000;

type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type ControlBody = WithoutSeq<ControlRequest>;

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  timer: NodeJS.Timeout;
}

/** The client's end of a control connection. Any number of requests may be under way. */
export class ControlClient implements Disposable {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lines = new LineSplitter(MAX_LINE);
  readonly #greeted = Promise.withResolvers<number>();
  #greeting: "awaited" | "seen" = "awaited";
  #nextSeq = 1;
  /** Resolves when the connection is gone: closed by either side, or the server has died. */
  readonly closed: Promise<void>;

  private constructor(path: string) {
    this.#path = path;
    this.#socket = connect(path);
    this.#socket.on("data", (bytes) => this.#receive(bytes));
    this.#socket.on("error", (error) => this.#fail(error));
    this.closed = new Promise((resolve) => {
      this.#socket.once("close", () => {
        this.#fail(undefined);
        resolve();
      });
    });
  }

  /** @throws KilnError `BLOCK_FAILED` when no block server of this version answers at `path`. */
  static async connect(path: string): Promise<{ client: ControlClient; pid: number }> {
    const client = new ControlClient(path);
    const timer = setTimeout(() => client.#fail(new Error("no greeting in time")), GREETING_TIMEOUT_MS);
    try {
      return { client, pid: await client.#greeted.promise };
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws KilnError what the server answers, or `BLOCK_FAILED` when it is gone. */
  request(body: ControlBody): Promise<unknown> {
    const seq = this.#nextSeq++;
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(this.#gone(undefined));
      const timer = setTimeout(() => {
        this.#waiting.delete(seq);
        reject(new KilnError("BLOCK_FAILED", `the block server has not answered "${body.op}" in time`));
      }, ANSWER_TIMEOUT_MS);
      this.#waiting.set(seq, { resolve, reject, timer });
      this.#socket.write(`${JSON.stringify({ ...body, seq })}\n`);
    });
  }

  /** Lets the process end although the connection is open. */
  unref(): void {
    this.#socket.unref();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #receive(bytes: Buffer): void {
    try {
      const lines = this.#lines.push(bytes);
      if (lines === undefined) throw new Error("a line is too long");
      for (const line of lines) {
        if (this.#greeting === "awaited") this.#greet(JSON.parse(line));
        else this.#answer(JSON.parse(line));
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @throws when the other side is not a block server of this version. */
  #greet(message: unknown): void {
    const { version, pid } = Greeting.parse(message);
    if (version !== CONTROL_VERSION) {
      throw new Error(`it speaks version ${version}, this Kiln version ${CONTROL_VERSION}`);
    }
    this.#greeting = "seen";
    this.#greeted.resolve(pid);
  }

  /** @throws when the message is no answer. */
  #answer(message: unknown): void {
    const answer = ControlAnswer.parse(message);
    const waiting = this.#waiting.get(answer.seq);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.seq);
    clearTimeout(waiting.timer);
    if ("error" in answer) {
      const { code, message: text, hint } = answer.error;
      waiting.reject(new KilnError(code, text, hint === undefined ? {} : { hint }));
    } else waiting.resolve(answer.result);
  }

  #fail(cause: unknown): void {
    this.#greeted.reject(this.#gone(cause));
    // Nobody may be waiting for the greeting any more.
    this.#greeted.promise.catch(() => undefined);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(this.#gone(cause));
    }
    this.#waiting.clear();
    this.#socket.destroy();
  }

  #gone(cause: unknown): KilnError {
    const why = cause instanceof Error ? ` (${cause.message})` : "";
    return new KilnError("BLOCK_FAILED", `the block server at ${this.#path} is gone${why}`, {
      cause,
      hint: "server.log beside the socket may say why; start another and add the disks again",
    });
  }
}
