import { BLOCK_SIZE } from "../disk/geometry.ts";
import { toNbdError } from "./error-number.ts";
import type { Export } from "./export.ts";
import { Flushes } from "./flushes.ts";
import { headerError } from "./header-error.ts";
import type { Input } from "./input.ts";
import type { Output } from "./output.ts";
import {
  CHUNK_HEADER_SIZE,
  Chunk,
  Command,
  CommandFlag,
  NbdError,
  REQUEST_MAGIC,
  REQUEST_SIZE,
  SIMPLE_REPLY_SIZE,
} from "./protocol.ts";
import { MAX_EXTENTS, putBlockStatus, putChunkHeader, putErrorChunk, putSimpleReply } from "./replies.ts";

/** Longer reads are answered in pieces, each read while the client takes in the one before; in bytes. */
const READ_PIECE = 128 * 1024;

/** Replies are sent off when this much is gathered, so that the client works while the rest is made; in bytes. */
const SEND_AT = 64 * 1024;

/** Bytes read for one client before the others get their turn. */
const TURN = 4 * 1024 * 1024;

/**
 * What `pump` came to: all input is used up; output or a flush has to make progress first; it is the others' turn; or
 * the client goes.
 */
export type Pumped = "hungry" | "blocked" | "again" | "close";

/**
 * The requests of one connection, answered in order, except that a flush overtakes nobody and holds up nobody.
 *
 *     request ┌───────┬───────┬─────────┬────────┬────────┬────────┬───────────────────┐
 *             │ magic │ flags │ command │ cookie │ offset │ length │ write: the data … │
 *             └───────┴───────┴─────────┴────────┴────────┴────────┴───────────────────┘
 *             0       4       6         8        16       24       28
 */
export class Transmission {
  readonly #disk: Export["disk"];
  readonly #counters: Export["counters"];
  readonly #input: Input;
  readonly #output: Output;
  readonly #structured: boolean;
  readonly #blockStatus: boolean;
  readonly #flushes: Flushes;

  /** The request being worked on, as far as it outlives one turn of the loop. */
  #cookieHigh = 0;
  #cookieLow = 0;
  #offset = 0;
  /** Bytes of a long read that are still to be sent. */
  #readLeft = 0;
  /** Bytes of a write's data that are still to come. */
  #writeLeft = 0;
  #writeFlags = 0;
  /** First failure of the write being taken in; the rest of its data is thrown away. */
  #writeError = 0;

  #closing = false;
  /** Whether what the next request needs is being brought, or has been (as far as it could be). */
  #fetching: "no" | "under way" | "done" = "no";
  readonly #wake: () => void;

  /** `wake` is called when a flush, or what a request had to wait for, is done and `pump` has something to do again. */
  constructor(
    chosen: Export,
    input: Input,
    output: Output,
    negotiated: { structured: boolean; blockStatus: boolean },
    wake: () => void,
  ) {
    this.#disk = chosen.disk;
    this.#counters = chosen.counters;
    this.#input = input;
    this.#output = output;
    this.#structured = negotiated.structured;
    this.#blockStatus = negotiated.blockStatus;
    this.#flushes = new Flushes(chosen.disk, wake);
    this.#wake = wake;
  }

  /** Goes as far as input and output allow. Nothing throws: what fails is answered. */
  pump(): Pumped {
    const input = this.#input;
    const output = this.#output;
    const turnEnd = this.#counters.bytesRead + TURN;
    for (;;) {
      if (output.used >= SEND_AT) output.flush();
      if (output.congested) return "blocked";
      if (this.#disk.held) {
        output.flush();
        return "blocked";
      }
      if (this.#counters.bytesRead > turnEnd) {
        output.flush();
        return "again";
      }
      if (this.#readLeft > 0) {
        if (!this.#readOn()) return "close";
        continue;
      }
      this.#flushes.answer(output, this.#counters);
      if (this.#closing) {
        output.flush();
        return this.#flushes.idle ? "close" : "blocked";
      }
      if (this.#writeLeft > 0) {
        if (!this.#writeOn()) break;
        continue;
      }
      if (input.end - input.start < REQUEST_SIZE) break;
      if (this.#flushes.full) {
        output.flush();
        return "blocked";
      }
      // Without the magic number there is no telling where the next request starts.
      if (input.bytes.readUInt32BE(input.start) !== REQUEST_MAGIC) return "close";
      if (this.#fetching !== "done" && this.#mustFetch()) {
        output.flush();
        return "blocked";
      }
      this.#fetching = "no";
      this.#take();
    }
    output.flush();
    return "hungry";
  }

  /** Whether the next request has to wait until what it reads has arrived. Those behind it are asked for at the same time. */
  #mustFetch(): boolean {
    if (this.#fetching === "under way") return true;
    const { bytes, start, end } = this.#input;
    const first = this.#fetchFor(bytes, start);
    if (first === undefined) return false;
    this.#fetching = "under way";
    void first.then(() => {
      this.#fetching = "done";
      this.#wake();
    });
    for (let at = start; isRead(bytes, at); ) {
      at += REQUEST_SIZE;
      if (end - at < REQUEST_SIZE || !isRead(bytes, at)) break;
      void this.#fetchFor(bytes, at);
    }
    return true;
  }

  #fetchFor(bytes: Buffer, at: number): Promise<unknown> | undefined {
    const command = bytes.readUInt16BE(at + 6);
    if (command !== Command.READ && command !== Command.WRITE && command !== Command.WRITE_ZEROES)
      return undefined;
    const offset = bytes.readUInt32BE(at + 16) * 0x100000000 + bytes.readUInt32BE(at + 20);
    const length = bytes.readUInt32BE(at + 24);
    if (headerError(command, bytes.readUInt16BE(at + 4), offset, length, this.#disk.sizeBytes) !== 0)
      return undefined;
    return this.#disk.fetch(length, offset, command !== Command.READ);
  }

  #take(): void {
    const bytes = this.#input.bytes;
    const at = this.#input.start;
    this.#input.start = at + REQUEST_SIZE;
    this.#counters.requests++;
    const flags = bytes.readUInt16BE(at + 4);
    const command = bytes.readUInt16BE(at + 6);
    this.#cookieHigh = bytes.readUInt32BE(at + 8);
    this.#cookieLow = bytes.readUInt32BE(at + 12);
    const offset = bytes.readUInt32BE(at + 16) * 0x100000000 + bytes.readUInt32BE(at + 20);
    const length = bytes.readUInt32BE(at + 24);
    this.#offset = offset;
    const error = headerError(command, flags, offset, length, this.#disk.sizeBytes);
    switch (command) {
      case Command.READ:
        if (error !== 0) this.#refuse(error, true);
        else this.#read(flags, length);
        return;
      case Command.WRITE:
        this.#writeFlags = flags;
        this.#writeLeft = length;
        this.#writeError = error;
        // Data of any announced length can be thrown away as it comes, so the stream stays in step.
        if (length === 0) this.#refuse(error, false);
        return;
      case Command.FLUSH:
        if (error !== 0) this.#refuse(error, false);
        else this.#flushes.start(this.#cookieHigh, this.#cookieLow);
        return;
      case Command.TRIM:
      case Command.WRITE_ZEROES:
        if (error !== 0) this.#refuse(error, false);
        else this.#zero(command, flags, length);
        return;
      case Command.BLOCK_STATUS:
        if (!this.#blockStatus) this.#refuse(NbdError.EINVAL, this.#structured);
        else if (error !== 0) this.#refuse(error, this.#structured);
        else this.#status(flags, length);
        return;
      case Command.DISCONNECT:
        this.#closing = true;
        return;
      default:
        this.#refuse(error, false);
    }
  }

  #read(flags: number, length: number): void {
    if (length > READ_PIECE) {
      // One chunk has one header and cannot fail half-way: the standard lets a server decline when it is long.
      if (this.#structured && (flags & CommandFlag.DF) !== 0) this.#refuse(NbdError.EOVERFLOW, true);
      else {
        this.#readLeft = length;
        if (!this.#structured) {
          const at = this.#output.claim(SIMPLE_REPLY_SIZE);
          putSimpleReply(this.#output.bytes, at, 0, this.#cookieHigh, this.#cookieLow);
        }
      }
      return;
    }
    const header = this.#structured ? CHUNK_HEADER_SIZE + 8 : SIMPLE_REPLY_SIZE;
    const at = this.#output.claim(header + length);
    const bytes = this.#output.bytes;
    try {
      this.#disk.read(bytes, at + header, length, this.#offset);
    } catch (error) {
      this.#output.unclaim(header + length);
      this.#refuse(toNbdError(error), true);
      return;
    }
    this.#counters.bytesRead += length;
    if (this.#structured) {
      putChunkHeader(bytes, at, true, Chunk.OFFSET_DATA, this.#cookieHigh, this.#cookieLow, 8 + length);
      putOffset(bytes, at + CHUNK_HEADER_SIZE, this.#offset);
    } else putSimpleReply(bytes, at, 0, this.#cookieHigh, this.#cookieLow);
  }

  /** Sends the next piece of a long read. False: it cannot be read, and no error can be told in mid-reply. */
  #readOn(): boolean {
    const length = Math.min(this.#readLeft, READ_PIECE - (this.#offset % BLOCK_SIZE));
    const header = this.#structured ? CHUNK_HEADER_SIZE + 8 : 0;
    const at = this.#output.claim(header + length);
    const bytes = this.#output.bytes;
    try {
      this.#disk.read(bytes, at + header, length, this.#offset);
    } catch (error) {
      this.#output.unclaim(header + length);
      this.#readLeft = 0;
      if (!this.#structured) {
        this.#counters.errors++;
        return false;
      }
      this.#refuse(toNbdError(error), true);
      return true;
    }
    this.#counters.bytesRead += length;
    this.#readLeft -= length;
    if (this.#structured) {
      const done = this.#readLeft === 0;
      putChunkHeader(bytes, at, done, Chunk.OFFSET_DATA, this.#cookieHigh, this.#cookieLow, 8 + length);
      putOffset(bytes, at + CHUNK_HEADER_SIZE, this.#offset);
    }
    this.#offset += length;
    return true;
  }

  /** Takes what has come of a write's data. False: more has to come first. */
  #writeOn(): boolean {
    const input = this.#input;
    let length = Math.min(this.#writeLeft, input.end - input.start);
    // The end of a part that is not the last lies on a block's border, so that no block is copied from below in vain.
    if (length < this.#writeLeft && this.#writeError === 0) length -= (this.#offset + length) % BLOCK_SIZE;
    if (length <= 0) return false;
    if (this.#writeError === 0) {
      try {
        this.#disk.write(input.bytes, input.start, length, this.#offset);
        this.#counters.bytesWritten += length;
      } catch (error) {
        this.#writeError = toNbdError(error);
      }
    }
    input.start += length;
    this.#offset += length;
    this.#writeLeft -= length;
    if (this.#writeLeft > 0) return true;
    if (this.#writeError !== 0) this.#refuse(this.#writeError, false);
    else this.#acknowledge(this.#writeFlags);
    return true;
  }

  #zero(command: number, flags: number, length: number): void {
    try {
      if (command === Command.TRIM) this.#disk.trim(length, this.#offset);
      else this.#disk.zero(length, this.#offset);
    } catch (error) {
      this.#refuse(toNbdError(error), false);
      return;
    }
    this.#acknowledge(flags);
  }

  #status(flags: number, length: number): void {
    const limit = (flags & CommandFlag.REQ_ONE) !== 0 ? 1 : MAX_EXTENTS;
    putBlockStatus(
      this.#output,
      this.#disk.extents(length, this.#offset, limit),
      this.#cookieHigh,
      this.#cookieLow,
    );
  }

  /** Says that a change is done: at once, or with FUA when it is on stable storage. */
  #acknowledge(flags: number): void {
    if ((flags & CommandFlag.FUA) !== 0) {
      this.#flushes.start(this.#cookieHigh, this.#cookieLow);
      return;
    }
    const at = this.#output.claim(SIMPLE_REPLY_SIZE);
    putSimpleReply(this.#output.bytes, at, 0, this.#cookieHigh, this.#cookieLow);
  }

  /** Answers the current request with an error; after structured replies were agreed on, a read's has to be a chunk. */
  #refuse(error: number, chunk: boolean): void {
    this.#counters.errors++;
    if (chunk && this.#structured) putErrorChunk(this.#output, error, this.#cookieHigh, this.#cookieLow);
    else {
      const at = this.#output.claim(SIMPLE_REPLY_SIZE);
      putSimpleReply(this.#output.bytes, at, error, this.#cookieHigh, this.#cookieLow);
    }
  }
}

const isRead = (bytes: Buffer, at: number): boolean =>
  bytes.readUInt32BE(at) === REQUEST_MAGIC && bytes.readUInt16BE(at + 6) === Command.READ;

function putOffset(bytes: Buffer, at: number, offset: number): void {
  bytes.writeUInt32BE(Math.floor(offset / 0x100000000), at);
  bytes.writeUInt32BE(offset >>> 0, at + 4);
}
