import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** What a proxy does to what passes through it. */
export interface Faults {
  /** Nobody is listening. */
  down: boolean;
  /** Before each piece of an answer, in milliseconds. */
  latencyMs: number;
  /** Of answers, in bytes a second. */
  bytesPerSecond: number;
  /** Connections end after so many bytes of answers. */
  cutAfter: number;
  /** Every request is answered with this status instead. */
  status: number | undefined;
}

const NONE: Faults = {
  down: false,
  latencyMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  cutAfter: Number.POSITIVE_INFINITY,
  status: undefined,
};

/** A TCP proxy in front of a real server, which makes a bad network of a good one and counts bytes. */
export class FaultyProxy implements AsyncDisposable {
  readonly faults: Faults = { ...NONE };
  /** Bytes of answers so far. */
  received = 0;
  /** Bytes of requests so far. */
  sent = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #target: number;
  port = 0;

  private constructor(target: number) {
    this.#target = target;
  }

  static async start(target: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    const address = proxy.#server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    proxy.port = address.port;
    return proxy;
  }

  /** Ends all connections, and sets what happens to the next ones. */
  set(faults: Partial<Faults>): void {
    Object.assign(this.faults, NONE, faults);
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    const { faults } = this;
    this.#track(client);
    if (faults.down) {
      client.resetAndDestroy();
      return;
    }
    if (faults.status !== undefined) {
      client.once("data", () =>
        client.end(`HTTP/1.1 ${faults.status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`),
      );
      return;
    }
    const server = connect(this.#target, "127.0.0.1");
    this.#track(server);
    client.on("data", (bytes) => {
      this.sent += bytes.length;
    });
    client.pipe(server);
    client.on("close", () => server.destroy());
    void this.#answer(server, client);
  }

  async #answer(server: Socket, client: Socket): Promise<void> {
    const { latencyMs, bytesPerSecond, cutAfter } = this.faults;
    let passed = 0;
    try {
      for await (const bytes of server as AsyncIterable<Buffer>) {
        if (latencyMs > 0) await delay(latencyMs);
        if (Number.isFinite(bytesPerSecond)) await delay((bytes.length / bytesPerSecond) * 1000);
        const part = bytes.subarray(0, Math.max(0, cutAfter - passed));
        passed += part.length;
        this.received += part.length;
        if (!client.write(part)) await once(client, "drain");
        if (passed >= cutAfter) break;
      }
    } catch {
      // One of the two is gone.
    }
    client.destroy();
    server.destroy();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}
