import type { Socket } from "node:net";
import { KilnError } from "../../errors.ts";
import { MAX_LINE } from "../../os/server/control-client.ts";
import { LineSplitter } from "../../os/server/lines.ts";
import { BLOCK_SERVER, ControlRequest } from "../control-protocol.ts";
import type { Disks } from "./disks.ts";

/** The control connections of a server, and what is under way for them. */
export class ControlClients {
  readonly #sockets = new Set<Socket>();
  readonly #underWay = new Set<Promise<unknown>>();

  join(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  track<T>(work: Promise<T>): Promise<T> {
    const settled = work.catch(() => undefined).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
    return work;
  }

  /** Hangs up on everybody but `socket`, and waits until what they asked for is done: from then on nobody interferes. */
  async claim(socket: Socket): Promise<void> {
    const underWay = [...this.#underWay];
    for (const other of this.#sockets) if (other !== socket) other.destroy();
    await Promise.all(underWay);
  }
}

/** Serves one control connection until it ends. A line that is no request is answered, and the connection closed. */
export function serveControl(socket: Socket, disks: Disks, clients: ControlClients, stop: () => void): void {
  clients.join(socket);
  const lines = new LineSplitter(MAX_LINE);
  const say = (message: object) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
  };
  const answerOrClaim = (request: ControlRequest, from: Socket): Promise<object> => {
    if (request.op !== "claim") return clients.track(answer(request, disks, stop));
    return clients.claim(from).then(() => ({ seq: request.seq, result: { disks: disks.list() } }));
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
      const done = answerOrClaim(request, socket);
      done.then(say, (error: unknown) => say({ seq: request.seq, error: describe(error) }));
    }
  });
  say({ kiln: BLOCK_SERVER.greeting, version: BLOCK_SERVER.version, pid: process.pid });
}

async function answer(
  request: Exclude<ControlRequest, { op: "claim" }>,
  disks: Disks,
  stop: () => void,
): Promise<object> {
  const { seq } = request;
  switch (request.op) {
    case "add":
      return { seq, result: await disks.add(request.disk) };
    case "remove":
      await disks.remove(request.id, request.deleteDiff);
      return { seq, result: {} };
    case "seal":
      await disks.seal(request.id);
      return { seq, result: {} };
    case "rotate":
      await disks.rotate(request.id, request.diff, request.layers);
      return { seq, result: {} };
    case "stats":
      return { seq, result: disks.stats(request.id) };
    case "list":
      return { seq, result: { disks: disks.list() } };
    case "stop":
      await disks.close();
      setImmediate(stop);
      return { seq, result: {} };
  }
}

function parse(line: string): ControlRequest | undefined {
  try {
    return ControlRequest.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

function describe(error: unknown): { code: string; message: string; hint?: string | undefined } {
  if (error instanceof KilnError) return { code: error.code, message: error.message, hint: error.hint };
  return { code: "BLOCK_FAILED", message: error instanceof Error ? error.message : String(error) };
}
