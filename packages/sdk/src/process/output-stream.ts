import { setTimeout as delay } from "node:timers/promises";
import { fromWire } from "../convert.ts";
import { fromErrorBody, KilnError } from "../errors.ts";
import { decodeFrames, type Frame } from "../transport/frames.ts";
import type { Transport } from "../transport/transport.ts";
import type { ProcessInfo } from "../types.ts";

/** A daemon sends a sign of life every 15 seconds: one silent for so long, in milliseconds, is gone. */
const SILENCE_MS = 60_000;
/** How long is tried to reach the output again after a cut, in milliseconds. */
const REATTACH_PATIENCE_MS = 60_000;
const REATTACH_PAUSE_MS = 200;

export type OutputChannel = "stdout" | "stderr";

/** A part of a process's output, or the news that so many bytes of it are no longer there. */
export type OutputEvent =
  | { type: "stdout" | "stderr"; data: Buffer }
  | { type: "dropped"; channel: OutputChannel; bytes: number };

export interface OutputStreamOptions {
  transport: Transport;
  sandboxId: string;
  /** Opens the first connection. */
  open: () => Promise<AsyncIterable<Buffer>>;
  /** Bytes of each output that are known already. */
  offsets: Record<OutputChannel, number>;
  follow: boolean;
  signal: AbortSignal | undefined;
}

/** First of all, once: the process. */
export interface StartedEvent {
  type: "started";
  process: ProcessInfo;
}

/**
 * Output of a process to its end, over as many connections as that takes: after a cut it goes on from where it was, so nothing
 * is given twice and nothing is missing that the guest still has. Returns the process as it is at the end.
 */
export async function* outputStream(
  options: OutputStreamOptions,
): AsyncGenerator<OutputEvent | StartedEvent, ProcessInfo> {
  const { transport, sandboxId, signal } = options;
  const offsets = { ...options.offsets };
  let open = options.open;
  let processId: string | undefined;
  let cutSince: number | undefined;
  let last: ProcessInfo | undefined;
  for (;;) {
    try {
      for await (const frame of decodeFrames(await open())) {
        cutSince = undefined;
        const event = readFrame(frame);
        if (event.type === "stdout" || event.type === "stderr") {
          offsets[event.type] += event.data.length;
          yield event;
        } else if (event.type === "dropped") {
          offsets[event.channel] += event.bytes;
          yield event;
        } else if (event.type === "started") {
          if (processId === undefined) yield event;
          processId = event.process.id;
        } else if (event.type === "exit") last = event.process; // Read on to the end: the connection can be used again.
      }
    } catch (error) {
      if (last) return last;
      signal?.throwIfAborted();
      if (processId === undefined || !isCut(error)) throw error;
    }
    if (last) return last;
    signal?.throwIfAborted();
    cutSince ??= performance.now();
    if (processId === undefined || performance.now() - cutSince > REATTACH_PATIENCE_MS) {
      throw new KilnError("CONNECTION_LOST", "the connection to the process was lost", {
        hint: processId === undefined ? "it may have been started" : "it may go on: attach to it again later",
      });
    }
    await delay(REATTACH_PAUSE_MS, undefined, { signal }).catch(() => signal?.throwIfAborted());
    const path = `/v1/sandboxes/${sandboxId}/processes/${processId}/output`;
    const query = { follow: options.follow };
    open = () =>
      transport.send("GET", path, { query: { ...query, ...offsets }, signal, idleTimeoutMs: SILENCE_MS });
  }
}

/** Options of a request whose answer is an output stream. */
export const STREAM_OPTIONS = { idleTimeoutMs: SILENCE_MS } as const;

/** Whether the stream was cut, in contrast to having failed. */
function isCut(error: unknown): boolean {
  if (!(error instanceof KilnError)) return true; // The socket's own: ECONNRESET, an early end.
  return ["CONNECTION_LOST", "UNREACHABLE", "SHUTTING_DOWN"].includes(error.code);
}

type StreamEvent = OutputEvent | StartedEvent | { type: "exit"; process: ProcessInfo } | { type: "ping" };

function readFrame({ channel, payload }: Frame): StreamEvent {
  if (channel === 1) return { type: "stdout", data: payload };
  if (channel === 2) return { type: "stderr", data: payload };
  const event = fromWire<StreamEvent | { type: "error"; error: unknown }>(
    JSON.parse(payload.toString("utf8")),
  );
  if (event.type === "error") throw fromErrorBody(event.error);
  return event;
}
