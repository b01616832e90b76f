import { KilnError } from "../errors.ts";
import { ByteQueue } from "./byte-queue.ts";
import { Channel, channelOf, FLAG_END, type Frame, Kind, MAX_PAYLOAD_BYTES } from "./frame.ts";
import { Control, type Reply } from "./gen/kiln/agent/v1/agent.ts";

/** CREDIT may not raise what was granted above this. */
const MAX_CREDIT_BYTES = 2 ** 31;

type Send = (kind: Kind, payload?: Uint8Array, flags?: number) => Promise<void>;

/**
 * One stream of a connection: what comes out of it on two channels, what goes into it, and how it ended. Both
 * directions are held to the credit their reader has granted.
 */
export class GuestStream {
  /** Channel 1: output of a program, bytes of a file. */
  readonly output: ByteQueue;
  /** Channel 2: error output of a program. */
  readonly error: ByteQueue;
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

  constructor(window: number, sendable: number, send: Send) {
    this.#window = window;
    this.#receivable = window;
    this.#sendable = sendable;
    this.#send = send;
    const consumed = (bytes: number) => this.#credit(bytes);
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
    const queue =
      channel === Channel.output ? this.output : channel === Channel.error ? this.error : undefined;
    if (!queue || queue.ended)
      throw new KilnError("GUEST_PROTOCOL", `the guest sent data on channel ${channel}`);
    this.#receivable -= frame.payload.length;
    if (this.#receivable < 0)
      throw new KilnError("GUEST_PROTOCOL", "the guest sent more than it was granted");
    if (frame.payload.length > 0) queue.push(Buffer.from(frame.payload));
    if (frame.flags & FLAG_END) queue.end();
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
    this.#wakeWriter();
  }

  #wakeWriter(): void {
    this.#onCredit?.();
    this.#onCredit = undefined;
  }

  /** Grants the guest what was consumed, in steps of a quarter window. */
  #credit(bytes: number): void {
    this.#consumed += bytes;
    if (this.#over || this.#consumed < this.#window / 4) return;
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(this.#consumed);
    this.#receivable += this.#consumed;
    this.#consumed = 0;
    this.#send(Kind.credit, payload).catch(() => undefined); // A broken connection is reported by `reply`.
  }
}
