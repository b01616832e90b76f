import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { z } from "zod";
import { KilnError } from "../errors.ts";
import type { DaemonContext } from "./context.ts";
import { errorBody, toKilnError } from "./errors.ts";
import { newProcessId, toExecOptions } from "./exec.ts";
import { endFrame, eventFrame } from "./output-frames.ts";
import { sendOutput } from "./output-stream.ts";
import { ExecRequest } from "./schemas/process.ts";
import { switchingTo } from "./upgrades.ts";

export const EXEC_PATH = "/v1/exec";
const PROTOCOL = "kiln-exec";
/** A program's arguments and environment fit a message to the guest, of 64 KiB; in JSON they are longer. */
const MAX_REQUEST_BYTES = 1024 * 1024;
const HEADER_BYTES = 5;
const EVENT = 0;

/**
 * A connection over which programs are run to their ends, one after another (docs/api.md). What is no request of one program at a time
 * ends it; a client that goes away ends its program.
 */
export async function serveExecConnection(
  context: DaemonContext,
  { headers }: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  if (headers.upgrade?.toLowerCase() !== PROTOCOL) {
    throw new KilnError("USAGE", `${EXEC_PATH} upgrades to ${PROTOCOL} alone`);
  }
  socket.write(switchingTo(PROTOCOL));
  let pending: Buffer = Buffer.alloc(0);
  let running = false;
  const take = (chunk: Buffer) => {
    if (running) {
      socket.destroy();
      return;
    }
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    if (pending.length < HEADER_BYTES) return;
    const length = pending.readUInt32BE(1);
    const end = HEADER_BYTES + length;
    if (pending.readUInt8(0) !== EVENT || length > MAX_REQUEST_BYTES || pending.length > end) {
      socket.destroy();
      return;
    }
    if (pending.length < end) return;
    const request = pending.subarray(HEADER_BYTES);
    pending = Buffer.alloc(0);
    running = true;
    void run(context, socket, request).finally(() => {
      running = false;
    });
  };
  socket.on("data", take);
  socket.once("end", () => socket.destroy()); // Whoever sends no more does not wait for an answer either.
  if (head.length > 0) take(head);
}

async function run(context: DaemonContext, socket: Duplex, request: Buffer): Promise<void> {
  const { sandboxes, metrics, closing } = context;
  const end = (frame: Buffer) => void socket.write(Buffer.concat([frame, endFrame()]));
  const started = performance.now();
  try {
    const { sandbox: name, ...program } = parse(request);
    const { agent, record } = sandboxes.get(name);
    const id = newProcessId();
    const { stdin, buffer_bytes: bufferBytes } = program;
    const options = { ...toExecOptions(program, record.env), id, stdin, bufferBytes };
    const process = agent.start({ ...options, whenFull: "wait" });
    const last = await sendOutput({ stream: socket, end }, process, async () => {
      throw new KilnError("INTERNAL", "the program's end is not known");
    });
    if (last) metrics.execSeconds.observe((performance.now() - started) / 1000);
    // The client went away: what it started goes with it, unless the daemon itself ends.
    else if (!closing.aborted) void agent.forget(id).catch(() => undefined);
  } catch (error) {
    if (!socket.destroyed) end(eventFrame({ type: "error", error: errorBody(toKilnError(error)) }));
  }
}

function parse(request: Buffer): z.output<typeof ExecRequest> {
  let content: unknown;
  try {
    content = JSON.parse(request.toString("utf8"));
  } catch (cause) {
    throw new KilnError("USAGE", "the request is not JSON", { cause });
  }
  const parsed = ExecRequest.safeParse(content);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({
    path: `request.${path.join(".")}`,
    message,
  }));
  const [first] = issues;
  throw new KilnError("USAGE", `${first?.path}: ${first?.message}`, { details: { issues } });
}
