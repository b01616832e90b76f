import type { Duplex } from "node:stream";
import type { LinkWriter } from "../stack/link-writer.ts";
import { Ring } from "./ring.ts";
import { ACK, advance, after, FIN, PSH } from "./segment.ts";

/** A guest that acknowledges the same so often in a row has lost what comes next (RFC 5681). */
const DUPLICATES = 3;

const FIRST_TIMEOUT_MS = 1_000;
const MAX_TIMEOUT_MS = 15_000;
/** About two minutes of silence. */
const MAX_TRIES = 12;

/** Writes a segment with `length` bytes from `fill`. */
export type Transmit = (
  sequence: number,
  flags: number,
  length: number,
  fill?: (buffer: Buffer, at: number) => void,
) => void;

export interface SenderOptions {
  /** Sequence number of the SYN. */
  initial: number;
  maxSegment: number;
  /** Most bytes that the guest has not acknowledged, or not been sent: a power of two, at least 16 KiB. */
  bufferBytes: number;
  transmit: Transmit;
}

/**
 * The other half: what comes from upstream, to the guest. The link loses nothing and needs no congestion control; a guest that is out of
 * memory does lose packets, and is sent them again.
 */
export class Sender {
  readonly #upstream: Duplex;
  readonly #out: LinkWriter;
  readonly #transmit: Transmit;
  readonly #maxSegment: number;
  readonly #ring: Ring;
  /** What upstream gave and the ring had no room for. */
  #rest: Buffer | undefined;
  #upstreamEnded = false;
  #finSent = false;
  #finAcknowledged = false;
  /** The first byte that is not acknowledged, and the first that was not sent. */
  #first: number;
  #next: number;
  #window = 0;
  #duplicates = 0;
  /** Until this is acknowledged, whatever is acknowledged shows the next hole. */
  #recover: number | undefined;
  #waitsForRoom = false;
  #deadline: number | undefined;
  #tries = 0;
  #closed = false;

  constructor(upstream: Duplex, out: LinkWriter, options: SenderOptions) {
    this.#upstream = upstream;
    this.#out = out;
    this.#transmit = options.transmit;
    this.#maxSegment = options.maxSegment;
    this.#ring = new Ring(options.bufferBytes);
    this.#first = advance(options.initial, 1);
    this.#next = this.#first;
  }

  /** What a segment without data is numbered with. */
  get next(): number {
    return this.#next;
  }

  /** The guest has all there was, and knows that it was all. */
  get done(): boolean {
    return this.#finAcknowledged;
  }

  /** Begins to read from upstream. */
  start(window: number): void {
    this.#window = window;
    this.#upstream.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#upstream.once("end", () => {
      this.#upstreamEnded = true;
      this.pump();
    });
  }

  /** An acknowledgment of the guest. False when it is for what was never sent. */
  acknowledge(acknowledgment: number, window: number, hasData: boolean): boolean {
    if (after(acknowledgment, this.#next) > 0) return false;
    const count = after(acknowledgment, this.#first);
    if (count < 0) return true;
    const repeated = count === 0 && window === this.#window && !hasData && this.#first !== this.#next;
    this.#window = window;
    if (count > 0) this.#forget(count);
    else if (repeated && ++this.#duplicates === DUPLICATES) {
      this.#recover = this.#next;
      this.#resend();
    }
    this.pump();
    return true;
  }

  /** Sends as much as the guest has room for. */
  pump(): void {
    while (!this.#closed) {
      const flying = this.#flying();
      const waiting = this.#ring.length - flying;
      if (waiting === 0) break;
      const count = Math.min(waiting, this.#maxSegment, this.#window - flying);
      // No crumbs while something is on its way: its acknowledgment will make room for more.
      if (count <= 0 || (count < this.#maxSegment && count < waiting && flying > 0)) break;
      if (this.#out.congested) {
        this.#waitForRoom();
        return;
      }
      const flags = count === waiting ? ACK | PSH : ACK;
      this.#transmit(this.#next, flags, count, (buffer, at) => this.#ring.copy(flying, count, buffer, at));
      this.#next = advance(this.#next, count);
    }
    const sentAll = this.#flying() === this.#ring.length && this.#rest === undefined;
    if (this.#upstreamEnded && sentAll && !this.#finSent && !this.#closed) {
      this.#transmit(this.#next, ACK | FIN, 0);
      this.#next = advance(this.#next, 1);
      this.#finSent = true;
    }
    if (this.#pending()) this.#deadline ??= Date.now() + FIRST_TIMEOUT_MS;
    else this.#deadline = undefined;
  }

  /** Sends again what is overdue. False when the guest has not answered for too long. */
  tick(now: number): boolean {
    if (this.#deadline === undefined || now < this.#deadline) return true;
    // The guest cannot have had it.
    const stuck = this.#out.congested;
    if (!stuck && ++this.#tries > MAX_TRIES) return false;
    this.#deadline = now + Math.min(FIRST_TIMEOUT_MS * 2 ** this.#tries, MAX_TIMEOUT_MS);
    if (stuck) return true;
    if (this.#first !== this.#next) {
      this.#recover = this.#next;
      this.#resend();
    } else this.probe();
    return true;
  }

  /** Makes the guest say where it is: whether it has room again, or knows the connection at all. */
  probe(): void {
    this.#transmit(advance(this.#first, -1), ACK, 0);
  }

  close(): void {
    this.#closed = true;
    this.#ring.release();
    this.#rest = undefined;
    this.#deadline = undefined;
  }

  #take(chunk: Buffer): void {
    if (this.#closed) return;
    const count = this.#ring.append(chunk);
    if (count < chunk.length) {
      this.#rest = chunk.subarray(count);
      this.#upstream.pause();
    }
    this.pump();
  }

  #flying(): number {
    const flying = after(this.#next, this.#first);
    return this.#finSent && !this.#finAcknowledged ? flying - 1 : flying;
  }

  /** Whether an answer of the guest is awaited. */
  #pending(): boolean {
    return !this.#closed && (this.#first !== this.#next || this.#ring.length > 0);
  }

  #forget(count: number): void {
    const data = Math.min(count, this.#ring.length);
    this.#ring.drop(data);
    if (count > data) this.#finAcknowledged = true;
    this.#first = advance(this.#first, count);
    this.#duplicates = 0;
    this.#tries = 0;
    this.#deadline = undefined;
    if (this.#recover !== undefined) {
      if (after(this.#first, this.#recover) >= 0) this.#recover = undefined;
      else this.#resend();
    }
    const rest = this.#rest;
    if (rest === undefined || this.#closed) return;
    const taken = this.#ring.append(rest);
    this.#rest = taken < rest.length ? rest.subarray(taken) : undefined;
    if (this.#rest === undefined) this.#upstream.resume();
  }

  /** Sends the first segment that is not acknowledged once more. */
  #resend(): void {
    const count = Math.min(this.#flying(), this.#maxSegment);
    if (count > 0)
      this.#transmit(this.#first, ACK | PSH, count, (buffer, at) => this.#ring.copy(0, count, buffer, at));
    else if (this.#finSent && !this.#finAcknowledged) this.#transmit(this.#first, ACK | FIN, 0);
  }

  #waitForRoom(): void {
    if (this.#waitsForRoom) return;
    this.#waitsForRoom = true;
    this.#out.onRoom(() => {
      this.#waitsForRoom = false;
      this.pump();
    });
  }
}
