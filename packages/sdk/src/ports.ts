import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { KilnError } from "./errors.ts";
import { type Body, readAll, type Transport } from "./transport/transport.ts";
import type { CallOptions } from "./types.ts";

const MAX_BODY_BYTES = 256 * 1024 * 1024;

export interface PortRequest extends CallOptions {
  /** @default "GET" */
  method?: string;
  headers?: Record<string, string>;
  body?: string | Body;
}

/** An HTTP answer of a server in a sandbox. */
export interface PortResponse {
  status: number;
  headers: IncomingMessage["headers"];
  /** The body as it comes; read it, or destroy it. */
  body: Readable;
  /** All of the body. @throws KilnError `TOO_LARGE` over 256 MiB. */
  bytes(): Promise<Buffer>;
  text(): Promise<string>;
  json(): Promise<unknown>;
}

/** @internal One HTTP request to a port of a sandbox, by way of the daemon. */
export async function requestPort(
  transport: Transport,
  sandboxId: string,
  port: number,
  path: string,
  { method = "GET", headers, body, signal }: PortRequest,
): Promise<PortResponse> {
  const target = `/v1/sandboxes/${sandboxId}/ports/${port}/${path.replace(/^\//, "")}`;
  const response = await transport.send(method, target, {
    headers,
    body: typeof body === "string" ? Buffer.from(body) : body,
    signal,
    anyStatus: true,
  });
  const bytes = () => readAll(response, MAX_BODY_BYTES);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: response,
    bytes,
    text: async () => (await bytes()).toString("utf8"),
    json: async () => JSON.parse((await bytes()).toString("utf8")),
  };
}

/** @internal One TCP connection to a port of a sandbox. */
export function connectPort(
  transport: Transport,
  sandboxId: string,
  port: number,
  { signal }: CallOptions,
): Promise<Duplex> {
  return transport.upgrade(`/v1/sandboxes/${sandboxId}/ports/${port}`, "tcp", { signal });
}

export interface ForwardOptions extends CallOptions {
  /** Port of this machine. @default one that is free */
  localPort?: number;
  /** Address of this machine. @default "127.0.0.1" */
  host?: string;
  /** Told of connections that the sandbox did not take. */
  onError?: (error: unknown) => void;
}

/** A port of this machine that leads to one of a sandbox, until it is closed. */
export class PortForward implements AsyncDisposable {
  readonly host: string;
  /** Port of this machine. */
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, sockets: Set<Socket>) {
    const address = server.address() as AddressInfo;
    this.host = address.address;
    this.port = address.port;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** @internal Listens, and resolves when connections are taken. */
  static async open(
    connect: () => Promise<Duplex>,
    { localPort = 0, host = "127.0.0.1", signal, onError }: ForwardOptions,
  ): Promise<PortForward> {
    signal?.throwIfAborted();
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      connect().then(
        (remote) => join(socket, remote),
        (error) => {
          onError?.(error);
          socket.destroy();
        },
      );
    });
    try {
      server.listen(localPort, host);
      await once(server, "listening");
    } catch (cause) {
      throw new KilnError("USAGE", `cannot listen on ${host}:${localPort}: ${(cause as Error).message}`, {
        cause,
      });
    }
    const forward = new PortForward(server, sockets);
    signal?.addEventListener("abort", () => void forward.close(), { once: true });
    return forward;
  }

  /** Stops listening and ends the connections. */
  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, "close") : undefined;
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Passes bytes both ways, half-closes included, until both ends are done or one breaks. */
function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.once("close", () => {
      if (!from.readableEnded) to.destroy();
    });
  }
  if (one.destroyed) other.destroy();
}
