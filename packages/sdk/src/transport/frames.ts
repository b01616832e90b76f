import { KilnError } from "../errors.ts";

/** Longest payload a daemon sends. */
const MAX_PAYLOAD_BYTES = 1024 * 1024;
const HEADER_BYTES = 5;

export interface Frame {
  /** 0: an event in JSON, 1: stdout, 2: stderr. */
  channel: number;
  payload: Buffer;
}

/**
 * Takes an output stream (docs/api.md) apart.
 *
 *     +---------+------------------+=================+
 *     | channel | length, u32 BE   | payload         |
 *     +---------+------------------+=================+
 *
 * @throws KilnError `INTERNAL` for what is no such stream, `CONNECTION_LOST` when it ends within a frame.
 */
export async function* decodeFrames(source: AsyncIterable<Buffer>): AsyncGenerator<Frame, void> {
  let pending: Buffer[] = [];
  let size = 0;
  let needed = HEADER_BYTES;
  for await (const chunk of source) {
    pending.push(chunk);
    size += chunk.length;
    if (size < needed) continue;
    let bytes = pending.length === 1 ? chunk : Buffer.concat(pending, size);
    for (;;) {
      if (bytes.length < HEADER_BYTES) {
        needed = HEADER_BYTES;
        break;
      }
      const length = bytes.readUInt32BE(1);
      if (length > MAX_PAYLOAD_BYTES) throw new KilnError("INTERNAL", `an output frame of ${length} bytes`);
      needed = HEADER_BYTES + length;
      if (bytes.length < needed) break;
      yield { channel: bytes.readUInt8(0), payload: bytes.subarray(HEADER_BYTES, needed) };
      bytes = bytes.subarray(needed);
    }
    pending = bytes.length === 0 ? [] : [bytes];
    size = bytes.length;
  }
  if (size > 0) throw new KilnError("CONNECTION_LOST", "an output stream ended within a frame");
}
