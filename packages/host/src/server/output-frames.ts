import type { ErrorBody } from "./schemas/common.ts";
import type { Process } from "./schemas/process.ts";

/** Channels of an output stream. */
const EVENT = 0;
const STDOUT = 1;
const STDERR = 2;
/** On a connection for programs: the answer is over, and the next may be asked for. */
const END = 3;

/** An event on channel 0 of an output stream. */
export type OutputEvent =
  | { type: "started"; process: Process }
  | { type: "dropped"; channel: "stdout" | "stderr"; bytes: number }
  | { type: "ping" }
  | { type: "exit"; process: Process }
  | { type: "error"; error: ErrorBody };

function frame(channel: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(5 + payload.length);
  bytes.writeUInt8(channel, 0);
  bytes.writeUInt32BE(payload.length, 1);
  bytes.set(payload, 5);
  return bytes;
}

/** A frame of an output stream: one byte channel, four bytes length (big-endian), the payload. */
export const outputFrame = (channel: "stdout" | "stderr", payload: Uint8Array): Buffer =>
  frame(channel === "stdout" ? STDOUT : STDERR, payload);

export const eventFrame = (event: OutputEvent): Buffer => frame(EVENT, Buffer.from(JSON.stringify(event)));

export const endFrame = (): Buffer => frame(END, Buffer.alloc(0));
