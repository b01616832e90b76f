import { randomBytes } from "node:crypto";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { FirstBytes } from "../policy/first-bytes.ts";
import type { LinkWriter } from "../stack/link-writer.ts";
import { type Held, Receiver, WINDOW_SHIFT } from "./receiver.ts";
import {
  ACK,
  advance,
  after,
  type Ends,
  FIN,
  parseSynOptions,
  RST,
  type Segment,
  SYN,
  sendReset,
  sendSegment,
} from "./segment.ts";
import { Sender } from "./sender.ts";

/** How long a guest may take to acknowledge that its connection was accepted; it is sent again until then. */
const ACCEPT_TRIES = 6;
const ACCEPT_RETRY_MS = 1_000;
/** When a connection has been silent so long, the guest is asked whether it still knows it. */
const SILENCE_MS = 300_000;
const SILENCE_TRIES = 3;
/** How long what the guest has sent may take to be taken, when all else has ended. */
const LINGER_MS = 60_000;

/** What becomes of a connection is told to whoever keeps it. */
export interface ConnectionOptions {
  out: LinkWriter;
  held: Held;
  /** Other connections of the same guest. */
  crowd: number;
  inspection: FirstBytes | undefined;
  /** The inspection found something it may not pass on. */
  onRefused(why: string): void;
  /** It is over, and holds nothing. */
  onClosed(): void;
}

/** The more connections a guest has, the less each may hold: all of them together some 50 MiB. */
const bufferBytes = (crowd: number): number => (crowd < 64 ? 256 : crowd < 256 ? 64 : 32) * 1024;

/** One TCP connection of the guest, and the stream it is joined with, which is open already. */
export class TcpConnection {
  readonly ends: Ends;
  readonly upstream: Duplex;
  readonly #options: ConnectionOptions;
  readonly #receiver: Receiver;
  readonly #sender: Sender;
  readonly #initial = randomBytes(4).readUInt32BE();
  readonly #windowShift: number | undefined;
  #state: "accepting" | "open" | "closed" = "accepting";
  #accepts = 0;
  #lastHeard = Date.now();
  #asked = 0;
  #acknowledges = false;
  #doneSince: number | undefined;

  /** `syn` is what the guest asked with. */
  constructor(ends: Ends, syn: Segment, upstream: Duplex, options: ConnectionOptions) {
    this.ends = ends;
    this.upstream = upstream;
    this.#options = options;
    const { maxSegment, windowShift } = parseSynOptions(syn);
    this.#windowShift = windowShift;
    this.#receiver = new Receiver(upstream, syn.sequence, {
      scaled: windowShift !== undefined,
      held: options.held,
      inspection: options.inspection,
      onRoom: () => this.acknowledgeSoon(true),
    });
    this.#sender = new Sender(upstream, options.out, {
      initial: this.#initial,
      maxSegment,
      bufferBytes: bufferBytes(options.crowd),
      transmit: (sequence, flags, length, fill) => this.#send(sequence, flags, length, fill),
    });
    upstream.on("error", () => this.#lost());
    upstream.once("close", () => this.#upstreamClosed());
    this.#accept();
  }

  /** Takes a segment of the guest. True when an acknowledgment is due. */
  receive(segment: Segment): boolean {
    const { flags, sequence, acknowledgment, buffer, data, end } = segment;
    if (this.#state === "closed") return false;
    this.#lastHeard = Date.now();
    this.#asked = 0;
    if ((flags & RST) !== 0) {
      if (this.#receiver.inWindow(sequence)) this.#drop();
      return false;
    }
    if ((flags & SYN) !== 0) {
      if (this.#state === "accepting") this.#accept();
      else this.#acknowledges = true;
      return this.#acknowledges;
    }
    if ((flags & ACK) === 0) return false;
    if (this.#state === "accepting" && !this.#opened(segment)) return false;
    const window = segment.window << (this.#windowShift ?? 0);
    if (!this.#sender.acknowledge(acknowledgment, window, end > data)) return this.#due();
    if (end > data || (flags & FIN) !== 0 || after(sequence, this.#receiver.next) !== 0)
      this.#receive(buffer, data, end, sequence, (flags & FIN) !== 0);
    this.#closeWhenDone();
    return this.#acknowledges;
  }

  /** Says how far the guest's bytes were taken, unless a segment has said so meanwhile. */
  acknowledge(): void {
    if (this.#acknowledges && this.#state === "open") this.#send(this.#sender.next, ACK, 0);
  }

  /** `acknowledge` outside of a batch. */
  acknowledgeSoon(now: boolean): void {
    this.#acknowledges = true;
    if (now) this.acknowledge();
  }

  /** What is to be done as time passes. */
  tick(now: number): void {
    if (this.#state === "closed") return;
    if (this.#state === "accepting") {
      if (now - this.#lastHeard < ACCEPT_RETRY_MS * 2 ** this.#accepts) return;
      if (this.#accepts > ACCEPT_TRIES) this.abort();
      else this.#accept();
      return;
    }
    if (!this.#sender.tick(now)) this.abort();
    else if (this.#doneSince !== undefined && now - this.#doneSince > LINGER_MS) this.#drop();
    else if (now - this.#lastHeard > SILENCE_MS + this.#asked * ACCEPT_RETRY_MS) {
      if (++this.#asked > SILENCE_TRIES) this.abort();
      else this.#sender.probe();
    }
  }

  /** Ends it on both sides at once. */
  abort(): void {
    if (this.#state === "closed") return;
    this.#send(this.#sender.next, RST | ACK, 0);
    this.#drop();
  }

  /** Ends it without a word to the guest, which is gone or knows. */
  discard(): void {
    this.#drop();
  }

  #accept(): void {
    this.#accepts += 1;
    sendSegment(this.#options.out, this.ends, {
      sequence: this.#initial,
      acknowledgment: this.#receiver.next,
      flags: SYN | ACK,
      window: this.#receiver.firstWindow(),
      windowShift: this.#windowShift === undefined ? undefined : WINDOW_SHIFT,
    });
  }

  #opened(segment: Segment): boolean {
    if (segment.acknowledgment !== advance(this.#initial, 1)) {
      sendReset(this.#options.out, this.ends, segment);
      return false;
    }
    this.#state = "open";
    this.#sender.start(segment.window << (this.#windowShift ?? 0));
    return true;
  }

  #receive(buffer: Buffer, data: number, end: number, sequence: number, fin: boolean): void {
    this.#acknowledges = true;
    if (end > data) {
      const taken = this.#receiver.take(buffer, data, end, sequence);
      if (typeof taken === "object") {
        this.#refuse(taken.refused);
        return;
      }
    }
    if (!fin || this.#receiver.ended || after(advance(sequence, end - data), this.#receiver.next) !== 0)
      return;
    const ended = this.#receiver.end();
    if (typeof ended === "object") this.#refuse(ended.refused);
  }

  #refuse(why: string): void {
    this.#options.onRefused(why);
    this.abort();
  }

  #due(): boolean {
    this.#acknowledges = true;
    return true;
  }

  #send(sequence: number, flags: number, length: number, fill?: (buffer: Buffer, at: number) => void): void {
    this.#acknowledges = false;
    const { next: acknowledgment } = this.#receiver;
    const window = this.#receiver.window();
    sendSegment(this.#options.out, this.ends, { sequence, acknowledgment, flags, window }, length, fill);
  }

  #closeWhenDone(): void {
    if (this.#state !== "open" || !this.#receiver.ended || !this.#sender.done) return;
    this.#doneSince ??= Date.now();
    if (this.upstream.closed) this.#close();
  }

  #lost(): void {
    if (this.#receiver.ended && this.#sender.done) this.#drop();
    else this.abort();
  }

  #upstreamClosed(): void {
    if (this.#state === "closed") return;
    // Closed with both halves at their ends, it still has the guest to convince; otherwise it broke.
    if (!this.upstream.readableEnded || (!this.upstream.writableFinished && !this.#receiver.ended))
      this.#lost();
    else if (this.#state === "open") {
      this.acknowledge();
      this.#closeWhenDone();
    }
  }

  #drop(): void {
    if (this.#state === "closed") return;
    this.#close();
    if (this.upstream instanceof Socket) this.upstream.resetAndDestroy();
    else this.upstream.destroy();
  }

  #close(): void {
    this.acknowledge();
    this.#state = "closed";
    this.#sender.close();
    this.#receiver.release();
    this.#options.onClosed();
  }
}
