import { KilnError } from "../errors.ts";
import { ByteQueue } from "./byte-queue.ts";
import { Channel, channelOf, FLAG_END, type Frame, Kind, MAX_PAYLOAD_BYTES } from "./frame.ts";
import { Control, type Note, type Reply } from "./gen/kiln/agent/v1/agent.ts";

/** CREDIT may not raise what was granted above this. */
const MAX_CREDIT_BYTES = 2 ** 31;

type Send = (kind: Kind, payload?: Uint8Array, flags?: number) => Promise<void>;

/** Where a stream's bytes and notes go, in the order they come. What it throws ends the connection. */
export interface StreamSink {
  /** `bytes` are the receiver's own. It tells the stream when they are `consumed`. */
  data(channel: Channel, bytes: Buffer): void;
  end(channel: Channel): void;
  note(note: Note): void;
  /** Nothing follows; with `error` when the stream was cut. */
  finish(error?: KilnError): void;
}

/**
 * One stream of a connection: what comes out of it on two channels, what goes into it, and how it ended. Both
 * directions are held to the credit their reader has granted.
 */
export class GuestStream {
  /** Channel 1: output of a program, bytes of a file. Empty when the stream has a sink of its own. */
  readonly output: ByteQueue;
  /** Channel 2: error output of a program. The same. */
  readonly error: ByteQueue;
  readonly #sink: StreamSink | undefined;
  readonly #ended = new Set<Channel>();
  readonly #send: Send;
  readonly #reply = Promise.withResolvers<Reply>();
  readonly #window: number;
  /** Bytes the guest may still send. */
  #receivable: number;
  /** Bytes consumed here that the guest was not yet credited for. */
  #consumed = 0;
  /** Bytes this side may still send. */
  #sendable: number;
  #onCredit: (() => void) | undefined;
  #over = false;

  constructor(window: number, sendable: number, send: Send, sink?: StreamSink) {
    this.#window = window;
    this.#receivable = window;
    this.#sendable = sendable;
    this.#send = send;
    this.#sink = sink;
    const consumed = (bytes: number) => this.consumed(bytes);
    this.output = new ByteQueue(consumed);
    this.error = new ByteQueue(consumed);
    this.#reply.promise.catch(() => undefined); // Whoever wants to know awaits `reply`.
  }

  /** How the stream ended. Rejects when the connection broke before that. */
  get reply(): Promise<Reply> {
    return this.#reply.promise;
  }

  get over(): boolean {
    return this.#over;
  }

  /** Sends bytes on channel 0 as far as the guest takes them; resolves when all are sent or the stream is over. */
  async write(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length && !this.#over) {
      if (this.#sendable === 0) {
        await new Promise<void>((resolve) => {
          this.#onCredit = resolve;
        });
        continue;
      }
      const piece = bytes.subarray(at, at + Math.min(this.#sendable, MAX_PAYLOAD_BYTES));
      at += piece.length;
      this.#sendable -= piece.length;
      await this.#send(Kind.data, piece, Channel.input);
    }
  }

  /** Nothing more on channel 0. */
  async end(): Promise<void> {
    if (!this.#over) await this.#send(Kind.data, undefined, Channel.input | FLAG_END);
  }

  async control(control: Control): Promise<void> {
    if (!this.#over) await this.#send(Kind.control, Control.encode(control).finish());
  }

  /** Asks the guest to stop; the stream still ends with its reply. */
  async cancel(): Promise<void> {
    if (!this.#over) await this.#send(Kind.cancel);
  }

  receiveData(frame: Frame): void {
    const channel = channelOf(frame);
    if ((channel !== Channel.output && channel !== Channel.error) || this.#ended.has(channel))
      throw new KilnError("GUEST_PROTOCOL", `the guest sent data on channel ${channel}`);
    this.#receivable -= frame.payload.length;
    if (this.#receivable < 0)
      throw new KilnError("GUEST_PROTOCOL", "the guest sent more than it was granted");
    const queue = channel === Channel.output ? this.output : this.error;
    if (frame.payload.length > 0) {
      const bytes = Buffer.from(frame.payload);
      if (this.#sink) this.#sink.data(channel, bytes);
      else queue.push(bytes);
    }
    if (frame.flags & FLAG_END) {
      this.#ended.add(channel);
      if (this.#sink) this.#sink.end(channel);
      else queue.end();
    }
  }

  receiveNote(note: Note): void {
    if (!this.#sink) throw new KilnError("GUEST_PROTOCOL", "the guest sent a note where there is none");
    this.#sink.note(note);
  }

  receiveCredit(bytes: number): void {
    if (this.#sendable + bytes > MAX_CREDIT_BYTES) {
      throw new KilnError("GUEST_PROTOCOL", "the guest granted more than there can be");
    }
    this.#sendable += bytes;
    this.#wakeWriter();
  }

  receiveReply(reply: Reply): void {
    this.#finish();
    this.#reply.resolve(reply);
  }

  fail(error: KilnError): void {
    this.#finish(error);
    this.#reply.reject(error);
  }

  #finish(error?: KilnError): void {
    this.#over = true;
    this.output.end(error);
    this.error.end(error);
    this.#sink?.finish(error);
    this.#wakeWriter();
  }

  #wakeWriter(): void {
    this.#onCredit?.();
    this.#onCredit = undefined;
  }

  /** Grants the guest what was consumed, in steps of a quarter window. */
  consumed(bytes: number): void {
    this.#consumed += bytes;
    if (this.#over || this.#consumed < this.#window / 4) return;
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(this.#consumed);
    this.#receivable += this.#consumed;
    this.#consumed = 0;
    this.#send(Kind.credit, payload).catch(() => undefined); // A broken connection is reported by `reply`.
  }
}
