import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const RETRY_MS = 1;

/** Connects to a socket that a process just started is about to make, by trying until it is there. */
export async function connectRetrying(path: string, deadline: AbortSignal): Promise<Socket> {
  while (true) {
    deadline.throwIfAborted();
    const socket = await new Promise<Socket | undefined>((resolve) => {
      const attempt = connect(path);
      attempt.once("connect", () => resolve(attempt));
      attempt.once("error", () => resolve(undefined));
    });
    if (socket) return socket;
    await sleep(RETRY_MS);
  }
}

/** Reads a socket line by line; every wait has the deadline it is given. */
export class LineReader {
  readonly #waiting: { resolve: (line: string) => void; reject: (error: unknown) => void }[] = [];
  readonly #lines: string[] = [];
  #rest = "";
  #ended: Error | undefined;

  constructor(socket: Socket) {
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#receive(text));
    socket.on("error", () => undefined); // "close" follows and says all there is to say.
    socket.once("close", () => {
      this.#ended = new Error("the floor's QEMU closed its connection");
      for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
    });
  }

  #receive(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const waiting = this.#waiting.shift();
      if (waiting) waiting.resolve(line);
      else this.#lines.push(line);
    }
  }

  next(deadline: AbortSignal): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise<string>((resolve, reject) => {
      const abort = () => reject(deadline.reason);
      deadline.addEventListener("abort", abort, { once: true });
      const settled = () => deadline.removeEventListener("abort", abort);
      this.#waiting.push({
        resolve: (value) => {
          settled();
          resolve(value);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
    });
  }
}
