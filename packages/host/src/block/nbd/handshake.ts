import { BLOCK_SIZE } from "../disk/geometry.ts";
import type { Export, Exports } from "./export.ts";
import type { Input } from "./input.ts";
import type { Output } from "./output.ts";
import {
  ALLOCATION_CONTEXT,
  ALLOCATION_CONTEXT_ID,
  FIXED_NEWSTYLE,
  INIT_MAGIC,
  Info,
  MAX_NAME,
  MAX_OPTION,
  MAX_OPTIONS,
  MAX_PAYLOAD,
  NO_ZEROES,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
  TransmissionFlag,
} from "./protocol.ts";

const EXPORT_FLAGS =
  TransmissionFlag.HAS_FLAGS |
  TransmissionFlag.SEND_FLUSH |
  TransmissionFlag.SEND_FUA |
  TransmissionFlag.SEND_TRIM |
  TransmissionFlag.SEND_WRITE_ZEROES |
  TransmissionFlag.SEND_DF |
  TransmissionFlag.CAN_MULTI_CONN |
  TransmissionFlag.SEND_FAST_ZERO;

const CLIENT_FLAGS_SIZE = 4;
const OPTION_HEADER_SIZE = 16;

/** Where a handshake stands: it needs more bytes, the client goes, or transmission starts. */
export type HandshakeStep = "more" | "close" | "ready";

/**
 * The negotiation of one connection.
 *
 *     option       ┌──────────┬────────┬────────┬──────────┐
 *                  │ IHAVEOPT │ option │ length │ data …   │
 *                  └──────────┴────────┴────────┴──────────┘
 *     option reply ┌──────────┬────────┬────────┬────────┬──────────┐
 *                  │ magic    │ option │ type   │ length │ data …   │
 *                  └──────────┴────────┴────────┴────────┴──────────┘
 *                  0          8        12       16       20
 */
export class Handshake {
  readonly #exports: Exports;
  readonly #input: Input;
  readonly #output: Output;
  #clientFlags: number | undefined;
  #options = 0;
  /** Bytes of a refused option that are still to come, and to be thrown away. */
  #skip = 0;
  /** Whether the client may get structured replies. */
  structured = false;
  /** Name of the export whose block status the client asked for. */
  #contextFor: string | undefined;
  /** The export the client chose; set when `step` says "ready". */
  chosen: Export | undefined;

  constructor(exports: Exports, input: Input, output: Output) {
    this.#exports = exports;
    this.#input = input;
    this.#output = output;
    const at = output.claim(18);
    output.bytes.writeUInt32BE(INIT_MAGIC[0], at);
    output.bytes.writeUInt32BE(INIT_MAGIC[1], at + 4);
    output.bytes.writeUInt32BE(OPTION_MAGIC[0], at + 8);
    output.bytes.writeUInt32BE(OPTION_MAGIC[1], at + 12);
    output.bytes.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, at + 16);
    output.flush();
  }

  /** Whether the client has asked for `base:allocation` of the export it chose. */
  get blockStatus(): boolean {
    return this.chosen !== undefined && this.#contextFor === this.chosen.name;
  }

  /** Goes as far as the input reaches. */
  step(): HandshakeStep {
    const input = this.#input;
    if (this.#clientFlags === undefined) {
      if (input.length < CLIENT_FLAGS_SIZE) return "more";
      const flags = input.bytes.readUInt32BE(input.start);
      input.start += CLIENT_FLAGS_SIZE;
      // A client that sets bits it was not offered speaks another protocol: the standard says to hang up.
      if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0) return "close";
      this.#clientFlags = flags;
    }
    for (;;) {
      if (this.#skip > 0) {
        const part = Math.min(this.#skip, input.length);
        input.start += part;
        this.#skip -= part;
        if (this.#skip > 0) return "more";
      }
      if (input.length < OPTION_HEADER_SIZE) return "more";
      const at = input.start;
      const bytes = input.bytes;
      if (bytes.readUInt32BE(at) !== OPTION_MAGIC[0] || bytes.readUInt32BE(at + 4) !== OPTION_MAGIC[1])
        return "close";
      const option = bytes.readUInt32BE(at + 8);
      const length = bytes.readUInt32BE(at + 12);
      if (length > MAX_OPTION) {
        if (option === Option.EXPORT_NAME) return "close";
        input.start += OPTION_HEADER_SIZE;
        this.#skip = length;
        this.#fail(option, OptionReply.TOO_BIG, `options are at most ${MAX_OPTION} bytes long`);
        this.#output.flush();
        if (++this.#options > MAX_OPTIONS) return "close";
        continue;
      }
      if (input.length < OPTION_HEADER_SIZE + length) return "more";
      input.start += OPTION_HEADER_SIZE + length;
      if (++this.#options > MAX_OPTIONS) return "close";
      const step = this.#handle(option, bytes.subarray(at + OPTION_HEADER_SIZE, input.start));
      this.#output.flush();
      if (step !== "more") return step;
    }
  }

  #handle(option: number, data: Buffer): HandshakeStep {
    switch (option) {
      case Option.EXPORT_NAME:
        return this.#exportName(data);
      case Option.GO:
      case Option.INFO:
        return this.#go(option, data);
      case Option.ABORT:
        this.#reply(option, OptionReply.ACK);
        return "close";
      case Option.LIST:
        // A name is what gives access to a disk: only who was told it may have it.
        this.#fail(option, OptionReply.POLICY, "exports are not listed");
        return "more";
      case Option.STRUCTURED_REPLY:
        if (data.length > 0) this.#fail(option, OptionReply.INVALID, "this option carries no data");
        else {
          this.structured = true;
          this.#reply(option, OptionReply.ACK);
        }
        return "more";
      case Option.LIST_META_CONTEXT:
      case Option.SET_META_CONTEXT:
        this.#metaContext(option, data);
        return "more";
      default:
        this.#fail(option, OptionReply.UNSUPPORTED, "option not supported");
        return "more";
    }
  }

  /** The oldest way to choose: an unknown name cannot be answered, so the standard says to hang up. */
  #exportName(data: Buffer): HandshakeStep {
    const chosen = this.#exports.get(data.toString("utf8"));
    if (chosen === undefined) return "close";
    const padding = ((this.#clientFlags ?? 0) & NO_ZEROES) === 0 ? 124 : 0;
    const at = this.#output.claim(10 + padding);
    this.#output.bytes.writeBigUInt64BE(BigInt(chosen.disk.sizeBytes), at);
    this.#output.bytes.writeUInt16BE(EXPORT_FLAGS, at + 8);
    this.#output.bytes.fill(0, at + 10, at + 10 + padding);
    this.chosen = chosen;
    return "ready";
  }

  /** Data: name length, name, count of information requests, the requests (2 bytes each). */
  #go(option: number, data: Buffer): HandshakeStep {
    const name = readName(data);
    const requestsAt = name === undefined ? 0 : 4 + Buffer.byteLength(name);
    if (
      name === undefined ||
      data.length < requestsAt + 2 ||
      data.length !== requestsAt + 2 + 2 * data.readUInt16BE(requestsAt)
    ) {
      this.#fail(option, OptionReply.INVALID, "malformed option");
      return "more";
    }
    const chosen = this.#exports.get(name);
    if (chosen === undefined) {
      this.#fail(option, OptionReply.UNKNOWN, "no such export");
      return "more";
    }
    const about = Buffer.alloc(12);
    about.writeUInt16BE(Info.EXPORT, 0);
    about.writeBigUInt64BE(BigInt(chosen.disk.sizeBytes), 2);
    about.writeUInt16BE(EXPORT_FLAGS, 10);
    this.#reply(option, OptionReply.INFO, about);
    const sizes = Buffer.alloc(14);
    sizes.writeUInt16BE(Info.BLOCK_SIZE, 0);
    sizes.writeUInt32BE(1, 2);
    sizes.writeUInt32BE(BLOCK_SIZE, 6);
    sizes.writeUInt32BE(MAX_PAYLOAD, 10);
    this.#reply(option, OptionReply.INFO, sizes);
    this.#reply(option, OptionReply.ACK);
    if (option === Option.INFO) return "more";
    this.chosen = chosen;
    return "ready";
  }

  /** Data: name length, name, count of queries, each a length and a string. */
  #metaContext(option: number, data: Buffer): void {
    const name = readName(data);
    const queries = name === undefined ? undefined : readQueries(data, 4 + Buffer.byteLength(name));
    if (
      name === undefined ||
      queries === undefined ||
      (option === Option.SET_META_CONTEXT && !this.structured)
    ) {
      this.#fail(option, OptionReply.INVALID, "malformed option, or structured replies not negotiated");
      return;
    }
    if (this.#exports.get(name) === undefined) {
      this.#fail(option, OptionReply.UNKNOWN, "no such export");
      return;
    }
    const listed = option === Option.LIST_META_CONTEXT && (queries.length === 0 || queries.includes("base:"));
    const wanted = listed || queries.includes(ALLOCATION_CONTEXT);
    if (option === Option.SET_META_CONTEXT) this.#contextFor = wanted ? name : undefined;
    if (wanted) {
      const context = Buffer.alloc(4 + ALLOCATION_CONTEXT.length);
      context.writeUInt32BE(ALLOCATION_CONTEXT_ID, 0);
      context.write(ALLOCATION_CONTEXT, 4, "latin1");
      this.#reply(option, OptionReply.META_CONTEXT, context);
    }
    this.#reply(option, OptionReply.ACK);
  }

  #fail(option: number, type: number, message: string): void {
    this.#reply(option, type, Buffer.from(message, "utf8"));
  }

  #reply(option: number, type: number, data: Buffer = NOTHING): void {
    const at = this.#output.claim(20 + data.length);
    const bytes = this.#output.bytes;
    bytes.writeUInt32BE(OPTION_REPLY_MAGIC[0], at);
    bytes.writeUInt32BE(OPTION_REPLY_MAGIC[1], at + 4);
    bytes.writeUInt32BE(option, at + 8);
    bytes.writeUInt32BE(type, at + 12);
    bytes.writeUInt32BE(data.length, at + 16);
    data.copy(bytes, at + 20);
  }
}

const NOTHING = Buffer.alloc(0);

/** The name at the front of an option's data, or undefined when its length is out of bounds or it is not UTF-8. */
function readName(data: Buffer): string | undefined {
  if (data.length < 4) return undefined;
  const length = data.readUInt32BE(0);
  if (length > MAX_NAME || 4 + length > data.length) return undefined;
  return decode(data.subarray(4, 4 + length));
}

function readQueries(data: Buffer, at: number): string[] | undefined {
  if (data.length < at + 4) return undefined;
  const count = data.readUInt32BE(at);
  const queries: string[] = [];
  let next = at + 4;
  // Each query takes four bytes at least, so the data's length bounds the loop.
  for (let index = 0; index < count; index++) {
    if (next + 4 > data.length) return undefined;
    const length = data.readUInt32BE(next);
    if (length > MAX_NAME || next + 4 + length > data.length) return undefined;
    const query = decode(data.subarray(next + 4, next + 4 + length));
    if (query === undefined) return undefined;
    queries.push(query);
    next += 4 + length;
  }
  return next === data.length ? queries : undefined;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(bytes: Buffer): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
