import { Agent, request } from "node:http";

/** An answer of the daemon, or that it went away before it had answered: nobody knows what has happened then. */
export type Answer =
  | { lost: false; status: number; body: Buffer; json: () => Record<string, unknown> }
  | { lost: true; why: string };

/** Longest wait for an answer, in milliseconds. An emulated VM on a busy host takes seconds to start. */
const TIMEOUT_MS = 120_000;

/** Speaks to the daemon of a home by its socket: one connection a request, so that none is from before its death. */
export class DaemonClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** @param signal hangs up when it fires. */
  send(method: string, path: string, body?: object | Buffer, signal?: AbortSignal): Promise<Answer> {
    const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const type = Buffer.isBuffer(body) ? "application/octet-stream" : "application/json";
    return new Promise((resolve) => {
      const lost = (error: Error) => resolve({ lost: true, why: error.message });
      const asked = request(
        {
          socketPath: this.#socketPath,
          agent: new Agent({ keepAlive: false }),
          method,
          path,
          timeout: TIMEOUT_MS,
          ...(signal ? { signal } : {}),
          headers:
            bytes === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(bytes) },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", lost);
          response.on("end", () => {
            const whole = Buffer.concat(chunks);
            const status = response.statusCode ?? 0;
            resolve({ lost: false, status, body: whole, json: () => JSON.parse(whole.toString("utf8")) });
          });
        },
      );
      asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
      asked.on("error", lost);
      asked.end(bytes);
    });
  }
}

/** The code of an error's answer. */
export function codeOf(answer: Answer): string {
  if (answer.lost) return `lost: ${answer.why}`;
  try {
    const { code, message } = answer.json();
    return `${answer.status} ${String(code)}: ${String(message)}`;
  } catch {
    return `${answer.status}`;
  }
}
