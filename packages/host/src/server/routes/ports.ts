import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { HTTPMethods } from "fastify";
import { z } from "zod";
import { KilnError } from "../../errors.ts";
import type { Sandboxes } from "../../sandbox/sandboxes.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { errors, raw } from "../responses.ts";
import { queryNumber, SandboxIdParam } from "../schemas/common.ts";
import { BEARER, TOKEN_HEADER } from "../tokens.ts";
import { switchingTo } from "../upgrades.ts";

const PortParams = SandboxIdParam.extend({ port: queryNumber(1, 65_535) });
/** Methods that OpenAPI 3.1 and the framework know. */
const METHODS: HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
const PROXY_PATH = /^\/v1\/sandboxes\/([a-z][a-z0-9]{0,11})\/ports\/(\d{1,5})(\/[^?]*)?(\?.*)?$/;
/** `PORT-ID.…`: a sandbox's port as a host name. */
const PROXY_HOST = /^(\d{1,5})-([a-z][a-z0-9]{0,11})\./;

/** Headers that concern one connection, not the message: RFC 9110, 7.6.1. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Whether a header carries the daemon's token, which a sandbox must not see. */
function isSecret(name: string, value: unknown): boolean {
  return name === TOKEN_HEADER || (name === "authorization" && BEARER.test(String(value)));
}

function endToEnd(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const named = new Set(
    String(headers.connection ?? "")
      .toLowerCase()
      .split(/\s*,\s*/),
  );
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || HOP_BY_HOP.has(name) || named.has(name) || isSecret(name, value)) continue;
    kept[name] = value;
  }
  return kept;
}

/** What a request to a host name like `8000-abc.localhost` means as a path, or its own path. */
export function rewriteHost(request: IncomingMessage): string {
  const url = request.url ?? "/";
  const match = PROXY_HOST.exec(request.headers.host ?? "");
  return match ? `/v1/sandboxes/${match[2]}/ports/${match[1]}${url.startsWith("/") ? url : `/${url}`}` : url;
}

function unreachable(port: number, cause: unknown): KilnError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new KilnError("PORT_UNREACHABLE", `port ${port} of the sandbox: ${reason}`, {
    cause,
    hint: "does something listen there, on 127.0.0.1 or on all addresses?",
  });
}

async function connect(sandboxes: Sandboxes, id: string, port: number): Promise<Duplex> {
  const { agent } = sandboxes.get(id);
  try {
    return await agent.connect(port);
  } catch (error) {
    if (error instanceof KilnError && error.code === "SANDBOX_STATE") throw error;
    throw unreachable(port, error);
  }
}

/** HTTP to the ports of a sandbox. */
export function addPortRoutes(app: App, { sandboxes }: DaemonContext): void {
  const tags = ["ports"];

  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
    (scope as unknown as App).route({
      method: METHODS,
      url: "/v1/sandboxes/:id/ports/:port/*",
      schema: {
        tags,
        summary: "HTTP to a port of the sandbox; WebSocket by upgrade",
        params: PortParams.extend({ "*": z.string() }),
        response: { 200: raw("*/*", "what the sandbox answers"), ...errors },
      },
      handler: async (request, reply) => {
        const { id, port } = request.params;
        const connection = await connect(sandboxes, id, port);
        const path = PROXY_PATH.exec(request.raw.url ?? "");
        const upstream = httpRequest({
          createConnection: () => connection,
          method: request.method,
          path: `${path?.[3] ?? "/"}${path?.[4] ?? ""}`,
          headers: { ...endToEnd(request.headers), connection: "close" },
          setHost: false,
        });
        reply.raw.once("close", () => upstream.destroy());
        const answer = new Promise<IncomingMessage>((resolve, reject) => {
          upstream.once("response", resolve);
          upstream.once("error", reject);
        });
        request.raw.pipe(upstream);
        const response = await answer.catch((error) => {
          throw unreachable(port, error);
        });
        upstream.on("error", () => response.destroy());
        reply.code(response.statusCode ?? 502);
        for (const [name, value] of Object.entries(endToEnd(response.headers))) reply.header(name, value);
        return reply.send(response);
      },
    });
  });
}

/** A WebSocket, or the raw bytes of one TCP connection, to a port of a sandbox. */
export async function upgradeToPort(
  { sandboxes }: DaemonContext,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const [, id, port, path, query] = PROXY_PATH.exec(rewriteHost(request)) ?? [];
  if (id === undefined || port === undefined) {
    throw new KilnError("NOT_FOUND", "only the ports of a sandbox can be upgraded to");
  }
  const connection = await connect(sandboxes, id, Number(port));
  if (socket.destroyed) {
    connection.destroy();
    return;
  }
  if (path === undefined && request.headers.upgrade?.toLowerCase() === "tcp") {
    socket.write(switchingTo("tcp"));
  } else connection.write(requestHead(request, path ?? "/", query ?? ""));
  if (head.length > 0) connection.write(head);
  join(socket, connection);
}

/** The head of an upgrade request as the sandbox's server gets it: unchanged but for the path. */
function requestHead(request: IncomingMessage, path: string, query: string): string {
  const lines = [`${request.method} ${path}${query} HTTP/1.1`];
  for (let at = 0; at + 1 < request.rawHeaders.length; at += 2) {
    const name = request.rawHeaders[at] ?? "";
    const value = request.rawHeaders[at + 1] ?? "";
    if (!isSecret(name.toLowerCase(), value)) lines.push(`${name}: ${value}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
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
}
