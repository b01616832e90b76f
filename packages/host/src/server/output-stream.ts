import type { Writable } from "node:stream";
import type { GuestProcess } from "../guest/guest-process.ts";
import type { ProcessInfo } from "../guest/process-info.ts";
import { errorBody, toKilnError } from "./errors.ts";
import { eventFrame, outputFrame } from "./output-frames.ts";
import { toProcess } from "./process-info.ts";

/** A sign of life this often, in milliseconds, while there is no output. */
const PING_MS = 15_000;

/** Who follows a process. */
export interface Follower {
  stream: Writable;
  /** Sends the last frame. */
  end: (frame: Buffer) => void;
}

/**
 * Sends a process's output as frames, from the first event to the last, and gives the process as it was then; undefined when it was not
 * followed to its end. The guest is told that a piece was taken when it has been sent, so that a client that does not read holds up the
 * process, not memory here. Each write wakes the client's process: the last event goes with whatever ends the answer.
 *
 * @param info the process as it is now, of one that was not followed to its end.
 */
export async function sendOutput(
  { stream, end }: Follower,
  process: GuestProcess,
  info: () => Promise<ProcessInfo>,
): Promise<ProcessInfo | undefined> {
  const letGo = () => void process.detach().catch(() => undefined); // Of a VM that is gone nothing is held.
  stream.once("close", letGo);
  if (stream.destroyed) letGo(); // The client went away while the program was starting.
  let last: ProcessInfo | undefined;
  let frame: Buffer;
  try {
    await send(stream, eventFrame({ type: "started", process: toProcess(await process.started) }));
    const pieces = process.output[Symbol.asyncIterator]();
    for (let next = pieces.next(); ; ) {
      const result = await orPing(next);
      if (result === "ping") {
        await send(stream, eventFrame({ type: "ping" }));
        continue;
      }
      if (result.done) break;
      const { channel, bytes, missing } = result.value;
      if (missing > 0) await send(stream, eventFrame({ type: "dropped", channel, bytes: missing }));
      if (bytes.length > 0) await send(stream, outputFrame(channel, bytes));
      next = pieces.next();
    }
    last = (await process.ended()) ?? (await info());
    frame = eventFrame({ type: "exit", process: toProcess(last) });
  } catch (error) {
    frame = eventFrame({ type: "error", error: errorBody(toKilnError(error)) });
  }
  // To write to a client that is gone would be an error of the stream's, which nobody hears.
  if (!stream.destroyed) end(frame);
  stream.off("close", letGo);
  letGo();
  return last;
}

/** Resolves when there is room for more, or the client is gone. */
function send(stream: Writable, frame: Buffer): Promise<void> | undefined {
  if (stream.destroyed || stream.write(frame)) return;
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
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
