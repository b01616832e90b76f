import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A daemon's socket as a TCP port of loopback, for tools that know no other. */
export class SocketProxy implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, sockets: Set<Socket>, port: number) {
    this.#server = server;
    this.#sockets = sockets;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async listen(socketPath: string): Promise<SocketProxy> {
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const upstream = connect(socketPath);
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(one);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.once("close", () => {
          sockets.delete(one);
          other.destroy();
        });
      }
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return new SocketProxy(server, sockets, address.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
