import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import type { GuestProcess } from "../guest/guest-process.ts";
import type { ProcessInfo } from "../guest/process-info.ts";
import { errorBody, toKilnError } from "./errors.ts";
import { eventFrame, outputFrame } from "./output-frames.ts";
import { toProcess } from "./process-info.ts";
import { OUTPUT_STREAM } from "./responses.ts";

/** A sign of life this often, in milliseconds, while there is no output. */
const PING_MS = 15_000;

/**
 * Answers with a process's output as frames, from the first event to the last. The guest is told that a piece was taken when it has been
 * sent, so that a client that does not read holds up the process, not memory here. Written to the connection by hand: each write wakes the
 * client's process, and the last event goes with the answer's end.
 *
 * @param info the process as it is now, of one that was not followed to its end.
 */
export async function sendOutput(
  reply: FastifyReply,
  process: GuestProcess,
  info: () => Promise<ProcessInfo>,
  onEnd: (ended: boolean) => void,
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  const letGo = () => void process.detach().catch(() => undefined); // Of a VM that is gone nothing is held.
  raw.once("close", letGo);
  if (raw.destroyed) letGo(); // The client went away while the program was starting.
  raw.writeHead(200, { "content-type": OUTPUT_STREAM });
  let last: ProcessInfo | undefined;
  try {
    await send(raw, eventFrame({ type: "started", process: toProcess(await process.started) }));
    const pieces = process.output[Symbol.asyncIterator]();
    for (let next = pieces.next(); ; ) {
      const result = await orPing(next);
      if (result === "ping") {
        await send(raw, eventFrame({ type: "ping" }));
        continue;
      }
      if (result.done) break;
      const { channel, bytes, missing } = result.value;
      if (missing > 0) await send(raw, eventFrame({ type: "dropped", channel, bytes: missing }));
      if (bytes.length > 0) await send(raw, outputFrame(channel, bytes));
      next = pieces.next();
    }
    last = (await process.ended()) ?? (await info());
    end(raw, eventFrame({ type: "exit", process: toProcess(last) }));
  } catch (error) {
    end(raw, eventFrame({ type: "error", error: errorBody(toKilnError(error)) }));
  }
  raw.off("close", letGo);
  letGo();
  onEnd(last?.exit !== undefined);
}

/** To write to a client that is gone would be an error of the response's, which nobody hears. */
function end(raw: ServerResponse, frame: Buffer): void {
  if (!raw.destroyed) raw.end(frame);
}

/** Resolves when there is room for more, or the client is gone. */
function send(raw: ServerResponse, frame: Buffer): Promise<void> | undefined {
  if (raw.destroyed || raw.write(frame)) return;
  return new Promise((resolve) => {
    const done = () => {
      raw.off("drain", done).off("close", done);
      resolve();
    };
    raw.on("drain", done).on("close", done);
  });
}

async function orPing<T>(next: Promise<T>): Promise<T | "ping"> {
  const silence = Promise.withResolvers<"ping">();
  const timer = setTimeout(silence.resolve, PING_MS, "ping");
  try {
    return await Promise.race([next, silence.promise]);
  } finally {
    clearTimeout(timer);
  }
}
