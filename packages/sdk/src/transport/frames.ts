import type { Readable } from "node:stream";
import { KilnError } from "../errors.ts";

/** Longest payload a daemon sends. */
const MAX_PAYLOAD_BYTES = 1024 * 1024;
const HEADER_BYTES = 5;

export interface Frame {
  /** 0: an event in JSON, 1: stdout, 2: stderr. */
  channel: number;
  payload: Buffer;
}

/** Takes a frame; what it returns is waited for before more is read. */
export type FrameReader = (frame: Frame) => Promise<void> | undefined;

export function encodeFrame(channel: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.writeUInt8(channel, 0);
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/**
 * Takes an output stream (docs/api.md) apart.
 *
 *     +---------+------------------+=================+
 *     | channel | length, u32 BE   | payload         |
 *     +---------+------------------+=================+
 */
export class FrameDecoder {
  #pending: Buffer[] = [];
  #size = 0;
  #needed = HEADER_BYTES;

  /** The frames that `chunk` completes. @throws KilnError `INTERNAL` for what is no such stream. */
  push(chunk: Buffer): Frame[] {
    this.#pending.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return [];
    const frames: Frame[] = [];
    let bytes = this.#pending.length === 1 ? chunk : Buffer.concat(this.#pending, this.#size);
    for (;;) {
      this.#needed = HEADER_BYTES;
      if (bytes.length < HEADER_BYTES) break;
      const length = bytes.readUInt32BE(1);
      if (length > MAX_PAYLOAD_BYTES) throw new KilnError("INTERNAL", `an output frame of ${length} bytes`);
      this.#needed += length;
      if (bytes.length < this.#needed) break;
      frames.push({ channel: bytes.readUInt8(0), payload: bytes.subarray(HEADER_BYTES, this.#needed) });
      bytes = bytes.subarray(this.#needed);
    }
    this.#pending = bytes.length === 0 ? [] : [bytes];
    this.#size = bytes.length;
    return frames;
  }

  /** Nothing follows. @throws KilnError `CONNECTION_LOST` within a frame. */
  end(): void {
    if (this.#size > 0) throw new KilnError("CONNECTION_LOST", "an output stream ended within a frame");
  }
}

/**
 * Gives the frames of an answer to `onFrame`, to the last one. By events: to iterate over the answer takes a program that says one line
 * half a millisecond longer.
 * @throws KilnError as `FrameDecoder`; what `onFrame` throws; the connection's own error.
 */
export function readFrames(source: Readable, onFrame: FrameReader): Promise<void> {
  return new Promise((resolve, reject) => {
    const decoder = new FrameDecoder();
    const fail = (error: unknown) => {
      reject(error);
      source.destroy();
    };
    const attempt = (step: () => void) => {
      try {
        step();
      } catch (error) {
        fail(error);
      }
    };
    const take = (chunk: Buffer) => {
      const full = decoder
        .push(chunk)
        .map(onFrame)
        .filter((room) => room !== undefined);
      if (full.length === 0) return;
      source.pause();
      Promise.all(full).then(() => source.resume(), fail);
    };
    source.on("data", (chunk: Buffer) => attempt(() => take(chunk)));
    source.once("end", () =>
      attempt(() => {
        decoder.end();
        resolve();
      }),
    );
    source.once("error", reject);
    source.once("close", () => {
      if (!source.readableEnded) reject(new KilnError("CONNECTION_LOST", "an output stream was cut"));
    });
  });
}
