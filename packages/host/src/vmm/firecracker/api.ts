import { Agent, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { z } from "zod";
import { KilnError } from "../../errors.ts";

/** Longest answer that is read, in bytes. */
const MAX_ANSWER_BYTES = 65_536;

const InstanceInfo = z.object({ state: z.enum(["Not started", "Running", "Paused"]) });

const Fault = z.object({ fault_message: z.string().max(MAX_ANSWER_BYTES) });

/** Every request goes by the connection that is there: its end is the end of Firecracker. */
class OneConnection extends Agent {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#socket = socket;
  }

  /** Node.js waits for ever for an answer by a connection that is closed already. */
  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    if (!this.#socket.destroyed) return this.#socket;
    callback?.(new Error("the connection is closed"), this.#socket);
    return undefined;
  }
}

/**
 * Firecracker's API on one connection (`firecracker.yaml` in its source describes it).
 *
 * @example
 * await api.put("/actions", { action_type: "InstanceStart" });
 */
export class FirecrackerApi {
  readonly #socket: Socket;
  readonly #agent: OneConnection;
  #closedFor: unknown;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#agent = new OneConnection(socket);
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
  }

  /** @throws KilnError `VM_FAILED` with what Firecracker has against it. */
  async put(path: string, body: unknown): Promise<void> {
    await this.#ask("PUT", path, body);
  }

  /** @throws KilnError `VM_FAILED` with what Firecracker has against it. */
  async patch(path: string, body: unknown): Promise<void> {
    await this.#ask("PATCH", path, body);
  }

  /** What its guest does. @throws KilnError `VM_FAILED`. */
  async state(): Promise<z.infer<typeof InstanceInfo>["state"]> {
    return InstanceInfo.parse(parse(await this.#ask("GET", "/", undefined))).state;
  }

  /** @param reason what requests that are under way, and all later ones, fail with. */
  close(reason?: unknown): void {
    this.#closedFor ??= reason;
    this.#socket.destroy();
  }

  /** Closes the connection when `signal` fires while `work` is under way: requests do not outlast it, the connection does. */
  async during<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const giveUp = () => this.close(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp);
    try {
      return await work();
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  async #ask(method: string, path: string, body: unknown): Promise<string> {
    const content = body === undefined ? "" : JSON.stringify(body);
    const headers =
      body === undefined
        ? {}
        : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(content) };
    try {
      if (this.#socket.destroyed) throw new Error("its connection is closed");
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const asked = request({ agent: this.#agent, host: "localhost", method, path, headers }, resolve);
        asked.once("error", reject);
        asked.end(content);
      });
      const text = await readAll(response);
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) return text;
      const fault = Fault.safeParse(parse(text)).data?.fault_message ?? `status ${statusCode}`;
      throw new KilnError("VM_FAILED", `Firecracker refused ${method} ${path}: ${fault}`);
    } catch (error) {
      if (error instanceof KilnError) throw error;
      if (this.#closedFor !== undefined) throw this.#closedFor;
      throw new KilnError("VM_FAILED", `Firecracker did not answer ${method} ${path}`, { cause: error });
    }
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) {
    text += String(chunk);
    if (text.length > MAX_ANSWER_BYTES) throw new Error("the answer is too long");
  }
  return text;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // What is expected of it is checked by a schema.
  }
}
