/** Bytes of the length before each frame, big-endian. */
export const LENGTH_BYTES = 4;
/** Longest frame QEMU sends: its buffer for one (NET_BUFSIZE). */
export const MAX_FRAME = 4096 + 65536;

/** Takes `buffer` from `start` to `end`, which is valid only during the call. */
export type OnFrame = (buffer: Buffer, start: number, end: number) => void;

/** Cuts a byte stream into frames, of which only one that has not arrived as a whole is kept. */
export class FrameReader {
  readonly #onFrame: OnFrame;
  /** A frame's beginning, with its length. */
  readonly #rest = Buffer.allocUnsafeSlow(LENGTH_BYTES + MAX_FRAME);
  #held = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** False when these bytes are no frames: the stream is of no more use. */
  push(bytes: Buffer): boolean {
    let position = 0;
    while (this.#held > 0 && position < bytes.length) {
      const wanted = this.#held < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + this.#rest.readUInt32BE(0);
      if (wanted > this.#rest.length) return false;
      const taken = bytes.copy(this.#rest, this.#held, position, position + wanted - this.#held);
      position += taken;
      this.#held += taken;
      if (this.#held < LENGTH_BYTES || this.#held < LENGTH_BYTES + this.#rest.readUInt32BE(0)) continue;
      const end = this.#held;
      this.#held = 0;
      this.#onFrame(this.#rest, LENGTH_BYTES, end);
    }
    while (bytes.length - position >= LENGTH_BYTES) {
      const start = position + LENGTH_BYTES;
      const end = start + bytes.readUInt32BE(position);
      if (end - start > MAX_FRAME) return false;
      if (end > bytes.length) break;
      this.#onFrame(bytes, start, end);
      position = end;
    }
    this.#held += bytes.copy(this.#rest, this.#held, position);
    return true;
  }
}
