import type { Socket } from "node:net";
import { KilnError } from "../../errors.ts";
import { MAX_LINE } from "../../os/server/control-client.ts";
import { LineSplitter } from "../../os/server/lines.ts";
import { ControlRequest, NETWORK_SERVER } from "../control-protocol.ts";
import type { Links } from "./links.ts";

/** Serves one control connection until it ends. A line that is no request is answered, and the connection closed. */
export function serveControl(socket: Socket, links: Links, stop: () => void): void {
  const lines = new LineSplitter(MAX_LINE);
  const say = (message: object) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
  };
  const refuse = (message: string) => {
    say({ seq: -1, error: { code: "USAGE", message } });
    socket.end();
  };
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    const complete = lines.push(bytes);
    if (complete === undefined) return refuse(`a request is longer than ${MAX_LINE} characters`);
    for (const line of complete) {
      const request = parse(line);
      if (request === undefined) return refuse("not a request of this protocol");
      say({ seq: request.seq, ...answer(request, links, stop) });
    }
  });
  say({ kiln: NETWORK_SERVER.greeting, version: NETWORK_SERVER.version, pid: process.pid });
}

function answer(
  request: ControlRequest,
  links: Links,
  stop: () => void,
): { result: object } | { error: object } {
  try {
    return { result: carryOut(request, links, stop) };
  } catch (error) {
    if (error instanceof KilnError)
      return { error: { code: error.code, message: error.message, hint: error.hint } };
    return { error: { code: "NETWORK_FAILED", message: String(error) } };
  }
}

function carryOut(request: ControlRequest, links: Links, stop: () => void): object {
  switch (request.op) {
    case "add":
      links.add(request.network);
      return {};
    case "remove":
      links.remove(request.id);
      return {};
    case "stats":
      return links.stats(request.id);
    case "list":
      return { networks: links.list() };
    case "stop":
      setImmediate(stop);
      return {};
  }
}

function parse(line: string): ControlRequest | undefined {
  try {
    return ControlRequest.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
