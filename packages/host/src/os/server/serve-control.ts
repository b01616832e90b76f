import type { Socket } from "node:net";
import type { z } from "zod";
import { KilnError } from "../../errors.ts";
import { MAX_LINE } from "./control-client.ts";
import { LineSplitter } from "./lines.ts";
import type { ServerKind } from "./server-kind.ts";

/** What a server of some kind is asked over its control socket, and how it answers. */
export interface ControlService<Request extends { seq: number }> {
  kind: ServerKind;
  request: z.ZodType<Request>;
  /** @throws KilnError what the client is told; anything else as an error of the kind's code. */
  answer(request: Request, socket: Socket): object | Promise<object>;
}

/** Serves one control connection until it ends. A line that is no request is answered, and the connection closed. */
export function serveControl<Request extends { seq: number }>(
  socket: Socket,
  { kind, request, answer }: ControlService<Request>,
): void {
  const lines = new LineSplitter(MAX_LINE);
  const say = (message: object) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
  };
  const refuse = (message: string) => {
    say({ seq: -1, error: { code: "USAGE", message } });
    socket.end();
  };
  const describe = (error: unknown) => {
    if (error instanceof KilnError) return { code: error.code, message: error.message, hint: error.hint };
    return { code: kind.code, message: error instanceof Error ? error.message : String(error) };
  };
  const respond = async (asked: Request) => {
    try {
      say({ seq: asked.seq, result: await answer(asked, socket) });
    } catch (error) {
      say({ seq: asked.seq, error: describe(error) });
    }
  };
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    const complete = lines.push(bytes);
    if (complete === undefined) return refuse(`a request is longer than ${MAX_LINE} characters`);
    for (const line of complete) {
      const asked = parse(request, line);
      if (asked === undefined) return refuse("not a request of this protocol");
      void respond(asked);
    }
  });
  say({ kiln: kind.greeting, version: kind.version, pid: process.pid });
}

function parse<Request>(schema: z.ZodType<Request>, line: string): Request | undefined {
  try {
    return schema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
