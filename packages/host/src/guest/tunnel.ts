import { Duplex } from "node:stream";
import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { Channel } from "./frame.ts";
import { unwrapReply } from "./reply.ts";
import type { GuestStream } from "./stream.ts";

/** A TCP connection in the guest as a stream: either side may end first; destroying it closes it there as well. */
class Tunnel extends Duplex {
  readonly #connected = Promise.withResolvers<void>();
  readonly #stream: GuestStream;
  /** What came and was not yet asked for; bounded by the window. Null is the end. */
  #waiting: (Buffer | null)[] = [];
  #wanted = false;

  constructor(connection: GuestConnection, port: number) {
    super({ allowHalfOpen: true });
    this.#connected.promise.catch(() => undefined); // Whoever wants to know awaits it.
    const strange = () => new KilnError("GUEST_PROTOCOL", "the guest sent what no connection has");
    this.#stream = connection.open(
      { kind: { $case: "connect", value: { port } } },
      {
        note: ({ kind }) => {
          if (kind?.$case !== "connected") throw strange();
          this.#connected.resolve();
        },
        data: (channel, bytes) => {
          if (channel !== Channel.output) throw strange();
          this.#deliver(bytes);
        },
        end: (channel) => {
          if (channel === Channel.output) this.#deliver(null);
        },
        finish: () => undefined,
      },
    );
    void this.#follow();
  }

  /** Resolves when the guest has connected. */
  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  async #follow(): Promise<void> {
    try {
      unwrapReply(await this.#stream.reply, "done", "port");
      this.#connected.reject(new KilnError("GUEST_PROTOCOL", "the guest ended a connection before it began"));
    } catch (error) {
      this.#connected.reject(error);
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #deliver(...news: (Buffer | null)[]): void {
    this.#waiting.push(...news);
    while (this.#wanted) {
      const bytes = this.#waiting.shift();
      if (bytes === undefined) return;
      this.#wanted = this.push(bytes) && bytes !== null;
      if (bytes) this.#stream.consumed(bytes.length);
    }
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(chunk).then(() => done(), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.end().then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#waiting = [];
    this.#connected.reject(error ?? new KilnError("CANCELLED", "the connection was closed"));
    this.#stream.cancel().catch(() => undefined); // Gone with its connection.
    done(error);
  }
}

/** Connects to a TCP port of the guest's loopback. @throws KilnError `PORT_UNREACHABLE`, `USAGE`, `CANCELLED`. */
export async function openTunnel(
  connection: GuestConnection,
  port: number,
  signal?: AbortSignal,
): Promise<Duplex> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new KilnError("USAGE", `a port must be 1 to 65535: ${port}`);
  signal?.throwIfAborted();
  const tunnel = new Tunnel(connection, port);
  tunnel.on("error", () => undefined); // Until it is handed over; `connected` tells.
  const cancel = () => tunnel.destroy(new KilnError("CANCELLED", "cancelled while connecting"));
  signal?.addEventListener("abort", cancel);
  try {
    await tunnel.connected;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
  return tunnel;
}
