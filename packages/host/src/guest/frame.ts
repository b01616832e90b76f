import { KilnError } from "../errors.ts";

/** Bytes of a frame's header. */
export const HEADER_BYTES = 16;
/** Most bytes one frame may carry. */
export const MAX_PAYLOAD_BYTES = 65_536;
/** Longest frame there can be, header included. */
export const MAX_FRAME_BYTES = HEADER_BYTES + MAX_PAYLOAD_BYTES;

const MAGIC = 0x4b4e;

/** What precedes HELLO and READY, so that a reader in the middle of something finds a beginning. */
export const SYNC = Buffer.from("ff4b494c4e2d53594e432d76310d0a00", "hex");

export const Kind = {
  hello: 1,
  ready: 2,
  open: 3,
  data: 4,
  credit: 5,
  control: 6,
  cancel: 7,
  close: 8,
  note: 9,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Channels of DATA, in the low bits of its flags. */
export const Channel = { input: 0, output: 1, error: 2 } as const;
export type Channel = (typeof Channel)[keyof typeof Channel];

const CHANNEL_MASK = 0b11;
/** Nothing more follows on the channel. */
export const FLAG_END = 0x80;

/**
 *     0       4       8   9   10      12      16
 *     +-------+-------+---+---+-------+-------+-----------+
 *     |length |stream |kind|flg| magic | gen.  | payload … |
 *     +-------+-------+---+---+-------+-------+-----------+
 *
 * Integers are little-endian. `payload` is a view of what was received: copy it to keep it.
 */
export interface Frame {
  kind: Kind;
  flags: number;
  /** 0 is the connection itself. */
  stream: number;
  generation: number;
  payload: Buffer;
}

/** The bytes of one frame. */
export function encodeFrame(
  kind: Kind,
  stream: number,
  generation: number,
  payload: Uint8Array = Buffer.alloc(0),
  flags = 0,
): Buffer {
  if (payload.length > MAX_PAYLOAD_BYTES) {
    throw new KilnError("USAGE", `a message of ${payload.length} bytes does not fit a frame`, {
      hint: `arguments, environment and paths together may have ${MAX_PAYLOAD_BYTES} bytes`,
    });
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt32LE(stream, 4);
  frame.writeUInt8(kind, 8);
  frame.writeUInt8(flags, 9);
  frame.writeUInt16LE(MAGIC, 10);
  frame.writeUInt32LE(generation, 12);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** The channel a DATA frame is for. */
export function channelOf(frame: Frame): number {
  return frame.flags & CHANNEL_MASK;
}

function parseHeader(bytes: Buffer, at: number): { frame: Omit<Frame, "payload">; length: number } {
  const length = bytes.readUInt32LE(at);
  const kind = bytes.readUInt8(at + 8);
  const flags = bytes.readUInt8(at + 9);
  const broken = (what: string) => new KilnError("GUEST_PROTOCOL", `the guest sent a broken frame: ${what}`);
  if (bytes.readUInt16LE(at + 10) !== MAGIC) throw broken("wrong magic");
  if (length > MAX_PAYLOAD_BYTES) throw broken(`${length} bytes of payload`);
  if (kind < Kind.hello || kind > Kind.note) throw broken(`kind ${kind}`);
  if ((flags & ~(CHANNEL_MASK | FLAG_END)) !== 0 || (kind !== Kind.data && flags !== 0)) {
    throw broken(`flags ${flags}`);
  }
  const stream = bytes.readUInt32LE(at + 4);
  return { frame: { kind: kind as Kind, flags, stream, generation: bytes.readUInt32LE(at + 12) }, length };
}

/**
 * Cuts a guest's byte stream into frames. Begins by discarding everything up to the first SYNC; a SYNC in place of a
 * header is skipped. Holds at most one frame of unfinished bytes.
 */
export class FrameParser {
  #rest: Buffer = Buffer.alloc(0);
  #synced = false;

  /** Goes back to discarding up to the next SYNC: what was received belongs to an earlier life of the guest. */
  resync(): void {
    this.#synced = false;
  }

  /**
   * The frames that `chunk` completes.
   * @throws KilnError `GUEST_PROTOCOL` at a header that cannot be one; the stream is of no use after that.
   */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = Buffer.alloc(0);
    let at = 0;
    while (true) {
      if (!this.#synced) {
        const sync = bytes.indexOf(SYNC, at);
        if (sync < 0) {
          // What is left may be the beginning of a SYNC.
          bytes = bytes.subarray(Math.max(at, bytes.length - SYNC.length + 1));
          break;
        }
        at = sync + SYNC.length;
        this.#synced = true;
      }
      if (bytes.length - at < HEADER_BYTES) {
        bytes = bytes.subarray(at);
        break;
      }
      if (bytes.compare(SYNC, 0, SYNC.length, at, at + SYNC.length) === 0) {
        at += SYNC.length;
        continue;
      }
      const { frame, length } = parseHeader(bytes, at);
      const end = at + HEADER_BYTES + length;
      if (bytes.length < end) {
        bytes = bytes.subarray(at);
        break;
      }
      const payload = bytes.subarray(at + HEADER_BYTES, end);
      at = end;
      yield { ...frame, payload };
    }
    this.#rest = Buffer.from(bytes);
  }
}
