import { setTimeout as delay } from "node:timers/promises";
import { fromWire } from "../convert.ts";
import { fromErrorBody, KilnError } from "../errors.ts";
import { type Frame, type FrameReader, readFrames } from "../transport/frames.ts";
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
  /** Starts the process or comes to it, and reads its first connection to the end. */
  open: (take: FrameReader) => Promise<void>;
  /** Bytes of each output that are known already. */
  offsets: Record<OutputChannel, number>;
  follow: boolean;
  signal: AbortSignal | undefined;
}

export interface OutputReader {
  /** First of all, once. */
  started(process: ProcessInfo): void;
  /** Nothing more is read before what it returns has resolved. */
  output(event: OutputEvent): Promise<void> | undefined;
}

/**
 * Reads a process's output to its end, over as many connections as that takes: after a cut it goes on from where it was, so nothing
 * is given twice and nothing is missing that the guest still has. Resolves with the process as it is at the end.
 */
export async function readOutput(options: OutputStreamOptions, reader: OutputReader): Promise<ProcessInfo> {
  const { transport, sandboxId, signal } = options;
  const offsets = { ...options.offsets };
  let open = options.open;
  let processId: string | undefined;
  let cutSince: number | undefined;
  let last: ProcessInfo | undefined;
  const take = (frame: Frame): Promise<void> | undefined => {
    cutSince = undefined;
    const event = readFrame(frame);
    if (event.type === "started") {
      if (processId === undefined) {
        processId = event.process.id;
        reader.started(event.process);
      }
    } else if (event.type !== "ping" && processId === undefined) {
      throw new KilnError("INTERNAL", "an output stream did not begin with its process");
    } else if (event.type === "stdout" || event.type === "stderr") {
      offsets[event.type] += event.data.length;
      return reader.output(event);
    } else if (event.type === "dropped") {
      offsets[event.channel] += event.bytes;
      return reader.output(event);
    } else if (event.type === "exit") last = event.process; // Read on to the end: the connection can be used again.
    return undefined;
  };
  for (;;) {
    try {
      await open(take);
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
    const again = { ...STREAM_OPTIONS, query: { ...query, ...offsets }, signal };
    open = async (take) => readFrames(await transport.send("GET", path, again), take);
  }
}

/** Options of a request whose answer is an output stream. */
export const STREAM_OPTIONS = { idleTimeoutMs: SILENCE_MS } as const;

/** Whether the stream was cut, in contrast to having failed. */
function isCut(error: unknown): boolean {
  if (!(error instanceof KilnError)) return true; // The socket's own: ECONNRESET, an early end.
  return ["CONNECTION_LOST", "UNREACHABLE", "SHUTTING_DOWN"].includes(error.code);
}

type StreamEvent = OutputEvent | { type: "started" | "exit"; process: ProcessInfo } | { type: "ping" };

function readFrame({ channel, payload }: Frame): StreamEvent {
  if (channel === 1) return { type: "stdout", data: payload };
  if (channel === 2) return { type: "stderr", data: payload };
  const event = fromWire<StreamEvent | { type: "error"; error: unknown }>(
    JSON.parse(payload.toString("utf8")),
  );
  if (event.type === "error") throw fromErrorBody(event.error);
  return event;
}
