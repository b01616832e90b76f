import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { KilnError } from "../errors.ts";
import type { App } from "./app-type.ts";
import type { DaemonContext } from "./context.ts";
import { errorBody, statusOf, toKilnError } from "./errors.ts";

/** Takes a connection over; what it throws is the answer. */
export type Upgrade = (
  context: DaemonContext,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
) => Promise<void>;

export const switchingTo = (protocol: string): string =>
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;

/** Answers requests to upgrade with `choose`'s choice. Connections that were upgraded end with the daemon. */
export function answerUpgrades(
  app: App,
  context: DaemonContext,
  { trusted, choose }: { trusted: boolean; choose: (request: IncomingMessage) => Upgrade },
): void {
  const open = new Set<Duplex>();
  context.closing.addEventListener("abort", () => {
    for (const socket of open) socket.destroy();
  });
  app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    const upgrade = async () => {
      if (!trusted && (await context.tokens.verify(request.headers)) === undefined) {
        throw new KilnError("UNAUTHORIZED", "this needs a token the daemon knows");
      }
      await choose(request)(context, request, socket, head);
    };
    upgrade().catch((thrown) => {
      const error = toKilnError(thrown);
      const body = JSON.stringify(errorBody(error));
      socket.end(
        `HTTP/1.1 ${statusOf(error)} Error\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    });
  });
}
