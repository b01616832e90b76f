import { connect, type Socket } from "node:net";
import { z } from "zod";
import { ERROR_TABLE, type ErrorCode, KilnError } from "../../errors.ts";
import { LineSplitter } from "./lines.ts";
import type { ServerKind } from "./server-kind.ts";

/** Longest wait for an answer. The slowest request, sealing, brings a whole diff to the disk. */
const ANSWER_TIMEOUT_MS = 120_000;
const GREETING_TIMEOUT_MS = 10_000;

/** Longest line either side accepts, in characters: a disk with all its layers' paths. */
export const MAX_LINE = 1024 * 1024;

const Greeting = z.object({ kiln: z.string(), version: z.int(), pid: z.int().positive() });

const codes = Object.keys(ERROR_TABLE) as [ErrorCode, ...ErrorCode[]];
const Answer = z.union([
  z.object({ seq: z.int(), result: z.unknown() }),
  z.object({
    seq: z.int(),
    error: z.object({ code: z.enum(codes), message: z.string(), hint: z.string().optional() }),
  }),
]);

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  timer: NodeJS.Timeout;
}

/**
 * The client's end of a server's control connection: one JSON object a line, requests `Body` with a number and, in any order,
 * answers with the same number. Any number of requests may be under way.
 */
export class ControlClient<Body extends { op: string }> implements Disposable {
  readonly #socket: Socket;
  readonly #kind: ServerKind;
  readonly #path: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lines = new LineSplitter(MAX_LINE);
  readonly #greeted = Promise.withResolvers<number>();
  #greeting: "awaited" | "seen" = "awaited";
  #nextSeq = 1;
  /** Resolves when the connection is gone: closed by either side, or the server has died. */
  readonly closed: Promise<void>;

  private constructor(kind: ServerKind, path: string) {
    this.#kind = kind;
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

  /** @throws KilnError of the kind's code when no server of this kind and version answers at `path`. */
  static async connect<Body extends { op: string }>(
    kind: ServerKind,
    path: string,
  ): Promise<{ client: ControlClient<Body>; pid: number }> {
    const client = new ControlClient<Body>(kind, path);
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

  /** @throws KilnError what the server answers, or of the kind's code when it is gone. */
  request(body: Body): Promise<unknown> {
    const seq = this.#nextSeq++;
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(this.#gone(undefined));
      const timer = setTimeout(() => {
        this.#waiting.delete(seq);
        const { code, name } = this.#kind;
        reject(new KilnError(code, `the ${name} has not answered "${body.op}" in time`));
      }, ANSWER_TIMEOUT_MS);
      this.#waiting.set(seq, { resolve, reject, timer });
      this.#socket.write(`${JSON.stringify({ ...body, seq })}\n`);
    });
  }

  /** Whether requests can still be answered. */
  get isOpen(): boolean {
    return !this.#socket.destroyed;
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

  /** @throws when the other side is not a server of this kind and version. */
  #greet(message: unknown): void {
    const { kiln, version, pid } = Greeting.parse(message);
    const { greeting, version: ours } = this.#kind;
    if (kiln !== greeting) throw new Error(`it calls itself "${kiln}", not "${greeting}"`);
    if (version !== ours) throw new Error(`it speaks version ${version}, this Kiln version ${ours}`);
    this.#greeting = "seen";
    this.#greeted.resolve(pid);
  }

  /** @throws when the message is no answer. */
  #answer(message: unknown): void {
    const answer = Answer.parse(message);
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
    return new KilnError(this.#kind.code, `the ${this.#kind.name} at ${this.#path} is gone${why}`, {
      cause,
      hint: "server.log beside the socket may say why",
    });
  }
}
