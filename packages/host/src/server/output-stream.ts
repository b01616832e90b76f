import type { GuestProcess } from "../guest/guest-process.ts";
import type { ProcessInfo } from "../guest/process-info.ts";
import { errorBody, toKilnError } from "./errors.ts";
import { eventFrame, outputFrame } from "./output-frames.ts";
import { toProcess } from "./process-info.ts";

/** A sign of life this often, in milliseconds, while there is no output. */
const PING_MS = 15_000;

/**
 * A process's output as frames, from the first event to the last. The guest is told that a piece was taken when the next
 * one is asked for, so that a client that does not read holds up the process, not memory here.
 *
 * @param info the process as it is now, of one that was not followed to its end.
 */
export async function* outputStream(
  process: GuestProcess,
  info: () => Promise<ProcessInfo>,
  onEnd: (ended: boolean) => void,
): AsyncGenerator<Buffer> {
  let ended = false;
  const pieces = process.output[Symbol.asyncIterator]();
  try {
    yield eventFrame({ type: "started", process: toProcess(await process.started) });
    let next = pieces.next();
    for (;;) {
      const result = await orPing(next);
      if (result === "ping") {
        yield eventFrame({ type: "ping" });
        continue;
      }
      if (result.done) break;
      const { channel, bytes, missing } = result.value;
      if (missing > 0) yield eventFrame({ type: "dropped", channel, bytes: missing });
      if (bytes.length > 0) yield outputFrame(channel, bytes);
      next = pieces.next();
    }
    const last = (await process.ended()) ?? (await info());
    ended = last.exit !== undefined;
    yield eventFrame({ type: "exit", process: toProcess(last) });
  } catch (error) {
    yield eventFrame({ type: "error", error: errorBody(toKilnError(error)) });
  } finally {
    await process.detach().catch(() => undefined); // Of a VM that is gone nothing is held.
    onEnd(ended);
  }
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
