import type { Socket } from "node:net";
import { KilnError } from "../../errors.ts";
import { MAX_LINE } from "../../os/server/control-client.ts";
import { LineSplitter } from "../../os/server/lines.ts";
import { BLOCK_SERVER, ControlRequest } from "../control-protocol.ts";
import type { Disks } from "./disks.ts";

/** Serves one control connection until it ends. A line that is no request is answered, and the connection closed. */
export function serveControl(socket: Socket, disks: Disks, stop: () => void): void {
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
      answer(request, disks, stop).then(say, (error: unknown) =>
        say({ seq: request.seq, error: describe(error) }),
      );
    }
  });
  say({ kiln: BLOCK_SERVER.greeting, version: BLOCK_SERVER.version, pid: process.pid });
}

async function answer(request: ControlRequest, disks: Disks, stop: () => void): Promise<object> {
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
