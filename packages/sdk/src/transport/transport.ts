import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { fromErrorBody, KilnError, systemErrorCode } from "../errors.ts";
import { ConnectionFailure } from "./connection-failure.ts";
import { describeEndpoint, type Endpoint } from "./endpoint.ts";
import { ExecConnections } from "./exec-connections.ts";
import { findKiln, startDaemon } from "./start-daemon.ts";

/** Longest JSON answer. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;
/** How long a TCP connection may take. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Pauses between attempts: a daemon that is restarted answers within a second or two. */
const RETRY_DELAYS_MS = [50, 100, 200, 400, 800, 1_600];

/** Bytes to send: at once, or as they come. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

export interface SendOptions {
  query?: Record<string, string | number | boolean | undefined> | undefined;
  /** Sent as JSON. */
  json?: unknown;
  body?: Body | undefined;
  headers?: Record<string, string> | undefined;
  signal?: AbortSignal | undefined;
  /** Gives a stream up that was silent for so long; whoever reads it sees it cut. */
  idleTimeoutMs?: number | undefined;
  /** Takes an answer of whatever status as it is. */
  anyStatus?: boolean | undefined;
}

export interface TransportOptions {
  /** Whether the local daemon may be started when it does not run. */
  autostart: boolean;
  /** What to start it with. @default found by `findKiln` */
  command?: readonly string[] | undefined;
}

/** HTTP to one daemon, over its socket or TCP. Connections are kept and used again. */
export class Transport {
  readonly endpoint: Endpoint;
  readonly #options: TransportOptions;
  readonly #agent: HttpAgent;
  /** What programs are run over; undefined where the daemon is not this machine's own. */
  readonly execConnections: ExecConnections | undefined;
  #starting: Promise<void> | undefined;

  constructor(endpoint: Endpoint, options: TransportOptions) {
    this.endpoint = endpoint;
    this.#options = options;
    const secure = endpoint.kind === "tcp" && endpoint.url.protocol === "https:";
    this.#agent = secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
    this.execConnections = endpoint.kind === "local" ? new ExecConnections(endpoint.socketPath) : undefined;
  }

  /** Closes the connections that wait for another request. */
  close(): void {
    this.#agent.destroy();
    this.execConnections?.close();
  }

  /**
   * Sends a request and gives the answer when its head is there. Tries again where that is safe: as long as nothing was
   * sent, and a GET that was cut.
   * @throws KilnError what the daemon answered, `UNREACHABLE`, `CONNECTION_LOST`; the signal's reason.
   */
  async send(method: string, path: string, options: SendOptions = {}): Promise<IncomingMessage> {
    const name = `${method} ${path}`;
    const again = { repeatable: method === "GET", signal: options.signal };
    const response = await this.attempt(name, again, () => this.#once(method, path, options));
    return options.anyStatus ? response : successful(response, name);
  }

  /**
   * Does `once` until it does not throw a `ConnectionFailure`, or what was sent is not `repeatable`, or patience ends. Starts the local
   * daemon where that is needed.
   */
  async attempt<T>(
    name: string,
    { repeatable, signal }: { repeatable: boolean; signal: AbortSignal | undefined },
    once: () => Promise<T>,
  ): Promise<T> {
    let mayStart = this.#options.autostart && this.endpoint.kind === "local";
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      try {
        return await once();
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ConnectionFailure)) throw error;
        const pause = RETRY_DELAYS_MS[attempt];
        if ((error.sent && !repeatable) || pause === undefined) throw this.#toKilnError(error, name);
        if (!error.sent && mayStart && error.nobodyListens) {
          mayStart = false;
          await this.#start();
        } else await delay(pause, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** The answer's body as JSON; undefined when there is none. */
  async json(method: string, path: string, options: SendOptions = {}): Promise<unknown> {
    const response = await this.send(method, path, options);
    const bytes = await readAll(response, MAX_JSON_BYTES).catch((cause) => {
      options.signal?.throwIfAborted();
      throw this.#toKilnError(new ConnectionFailure(cause, true), `${method} ${path}`);
    });
    return bytes.length === 0 ? undefined : JSON.parse(bytes.toString("utf8"));
  }

  /** A raw connection that the daemon grants to an upgrade. */
  async upgrade(
    path: string,
    protocol: string,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<Duplex> {
    await this.json("GET", "/healthz", { signal }); // Starts the daemon where that is needed: an upgrade is sent once.
    const name = `GET ${path}`;
    const request = this.#request(
      "GET",
      path,
      { Connection: "Upgrade", Upgrade: protocol },
      undefined,
      signal,
    );
    return new Promise<Duplex>((resolve, reject) => {
      request.once("upgrade", (_response, socket: Duplex, head: Buffer) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      request.once("response", (response: IncomingMessage) => {
        successful(response, name).then(
          () =>
            reject(new KilnError("INTERNAL", "the daemon did not upgrade the connection", { request: name })),
          reject,
        );
      });
      request.once("error", (cause) =>
        reject(signal?.aborted ? signal.reason : this.#toKilnError(new ConnectionFailure(cause, true), name)),
      );
      request.end();
    });
  }

  #request(
    method: string,
    path: string,
    headers: Record<string, string | number>,
    query: SendOptions["query"],
    signal: AbortSignal | undefined,
    agent?: HttpAgent,
  ): ClientRequest {
    const { endpoint } = this;
    const words = Object.entries(query ?? {}).flatMap(([key, value]) =>
      value === undefined ? [] : [`${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`],
    );
    const target = words.length === 0 ? path : `${path}?${words.join("&")}`;
    const token =
      endpoint.kind !== "local" && endpoint.token ? { Authorization: `Bearer ${endpoint.token}` } : {};
    const options: RequestOptions = {
      method,
      headers: { ...token, ...headers },
      agent: agent ?? false,
      ...(signal === undefined ? {} : { signal }),
    };
    if (endpoint.kind !== "tcp")
      return httpRequest({ ...options, socketPath: endpoint.socketPath, path: target });
    const { protocol, hostname, port, pathname } = endpoint.url;
    const send = protocol === "https:" ? httpsRequest : httpRequest;
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    return send({ ...options, host, port, path: pathname.replace(/\/$/, "") + target });
  }

  #once(method: string, path: string, options: SendOptions): Promise<IncomingMessage> {
    const json = options.json === undefined ? undefined : Buffer.from(JSON.stringify(options.json));
    const body = json ?? options.body;
    const length =
      body === undefined ? (method === "GET" ? undefined : 0) : "length" in body ? body.length : undefined;
    const headers = {
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
      ...(json === undefined && body !== undefined ? { "Content-Type": "application/octet-stream" } : {}),
      ...(length === undefined ? {} : { "Content-Length": length }),
      ...options.headers,
    };
    const request = this.#request(method, path, headers, options.query, options.signal, this.#agent);
    return new Promise<IncomingMessage>((resolve, reject) => {
      let connected = false;
      let answered = false;
      const patience = setTimeout(
        () => request.destroy(new Error("no connection in time")),
        CONNECT_TIMEOUT_MS,
      );
      request.once("socket", (socket) => {
        const onConnected = () => {
          connected = true;
          clearTimeout(patience);
          // Only now: what was not connected has sent nothing, and may be sent again.
          sendBody(request, body).catch((error: Error) => {
            if (answered) return;
            reject(error); // Whoever makes the body failed, not the connection.
            request.destroy();
          });
        };
        if (!socket.connecting) onConnected();
        else socket.once("secureConnect" in socket ? "secureConnect" : "connect", onConnected);
      });
      if (options.idleTimeoutMs !== undefined) {
        request.setTimeout(options.idleTimeoutMs, () =>
          request.destroy(new Error("it was silent for too long")),
        );
      }
      request.once("response", (response) => {
        answered = true;
        resolve(response);
      });
      request.on("error", (cause) => {
        clearTimeout(patience);
        reject(cause instanceof KilnError ? cause : new ConnectionFailure(cause, connected));
      });
    });
  }

  /** Starts the local daemon; several requests at once wait for the same start. */
  #start(): Promise<void> {
    const { endpoint } = this;
    if (endpoint.kind !== "local") return Promise.resolve();
    this.#starting ??= (async () => {
      await startDaemon(endpoint.home, this.#options.command ?? (await findKiln()));
    })().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  #toKilnError({ cause, sent, nobodyListens }: ConnectionFailure, request: string): KilnError {
    const where = describeEndpoint(this.endpoint);
    const why = systemErrorCode(cause) ?? (cause instanceof Error ? cause.message : String(cause));
    if (sent) {
      return new KilnError(
        "CONNECTION_LOST",
        `the connection to ${where} was lost before ${request} was answered (${why})`,
        {
          request,
          cause,
        },
      );
    }
    const hint = nobodyListens ? "does the daemon run? kiln serve starts it" : undefined;
    return new KilnError("UNREACHABLE", `${request}: ${where} cannot be reached (${why})`, {
      request,
      cause,
      hint,
    });
  }
}

async function sendBody(request: ClientRequest, body: Body | undefined): Promise<void> {
  if (body === undefined || body instanceof Uint8Array) {
    request.end(body);
    return;
  }
  for await (const chunk of body) {
    if (request.destroyed) return;
    if (!request.write(chunk)) await writable(request);
  }
  request.end();
}

function writable(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      request.off("drain", done);
      request.off("close", done);
      resolve();
    };
    request.once("drain", done);
    request.once("close", done);
  });
}

/** An answer of a good status, or what the daemon says is wrong. */
async function successful(response: IncomingMessage, request: string): Promise<IncomingMessage> {
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return response;
  const text = (await readAll(response, MAX_JSON_BYTES).catch(() => Buffer.alloc(0))).toString("utf8");
  response.destroy(); // An upload may still be under way.
  throw fromErrorBody(parseOrUndefined(text), { status, request });
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** All of a stream. @throws KilnError `TOO_LARGE` when it is longer than `limit` bytes. */
export async function readAll(source: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > limit)
      throw new KilnError("TOO_LARGE", `more than ${limit} bytes`, { hint: "read it as a stream" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
