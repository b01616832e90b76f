import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../errors.ts";
import { encodeFrame, type Frame, FrameParser, Kind, MAX_FRAME_BYTES } from "./frame.ts";
import { type Identity, Note, Ready, Reply, Request } from "./gen/kiln/agent/v1/agent.ts";
import { Handshake, HOST_WINDOW_BYTES } from "./handshake.ts";
import { unwrapReply } from "./reply.ts";
import { GuestStream, type StreamSink } from "./stream.ts";

export { HOST_WINDOW_BYTES };

/** Streams open at once on one connection. */
const MAX_STREAMS = 512;
/** How long a guest may take to answer HELLO before the host clears its line. */
const READY_PATIENCE_MS = 2_000;
/** Between a VM's wire breaking and its process being known to be gone. */
const EXPLANATION_PATIENCE_MS = 2_000;

export interface HandshakeOptions {
  /** Greater than every generation this guest has seen. When the guest knows better, one greater than that is taken. */
  generation: number;
  /** Given after a boot or a resume. */
  identity?: Identity;
  /** How long the guest may take to answer in all, in milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/** Asked for the reason when a wire breaks, as whoever owns the VM knows more. */
export type Explain = () => Promise<KilnError>;

interface Waiting {
  handshake: Handshake;
  ready: PromiseWithResolvers<Ready>;
}

interface SentFrame {
  stream: number;
  kind: Kind;
  payload: Uint8Array;
  flags: number;
}

/**
 * One connection to a guest's agent: the handshake, and the streams that share it. Frames of another generation
 * are dropped, a guest that breaks the protocol is given up: every stream ends with the error, and `closed` tells.
 */
export class GuestConnection {
  readonly #wire: Duplex;
  readonly #parser = new FrameParser();
  readonly #streams = new Map<number, GuestStream>();
  #generation = 0;
  #nextStream = 1;
  #peerWindow = 0;
  #waiting: Waiting | undefined;
  /** Id of the Freeze under way or done: streams with a greater one wait for the next generation. */
  #frozenFrom: number | undefined;
  /** Frames that the guest has not surely heard: sent before READY, or not sent at all since the Freeze. */
  #unheard: SentFrame[] = [];
  #failure: KilnError | undefined;
  readonly #closed = Promise.withResolvers<KilnError>();

  /** `explain` has `EXPLANATION_PATIENCE_MS` to find out. */
  constructor(wire: Duplex, explain?: Explain) {
    this.#wire = wire;
    wire.on("data", (chunk: Buffer) => this.#receive(chunk));
    const broke = async (cause?: Error) => this.fail(await this.#explain(explain, cause));
    wire.on("error", (error) => void broke(error));
    wire.once("close", () => void broke());
  }

  async #explain(explain: Explain | undefined, cause?: Error): Promise<KilnError> {
    const unexplained = new KilnError("VM_FAILED", "the connection to the guest broke", { cause });
    if (!explain || this.#failure) return unexplained;
    const patience = new AbortController();
    const late = delay(EXPLANATION_PATIENCE_MS, unexplained, { signal: patience.signal });
    try {
      return await Promise.race([explain(), late]);
    } finally {
      patience.abort();
      late.catch(() => undefined);
    }
  }

  /** Resolves, with the reason, when the connection is of no more use. */
  get closed(): Promise<KilnError> {
    return this.#closed.promise;
  }

  /** The reason, once the connection is of no more use. */
  get failure(): KilnError | undefined {
    return this.#failure;
  }

  /** The generation of the last handshake that was begun; the guest's own once that is done. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Starts a generation. Resolves when the guest has answered; streams may be opened before that.
   * @throws KilnError `TIMEOUT`, `CANCELLED`, `GUEST_PROTOCOL` or `VM_FAILED`.
   */
  async handshake(options: HandshakeOptions): Promise<Ready> {
    this.#throwIfFailed();
    const handshake = new Handshake(options.generation, options.identity);
    const ready = Promise.withResolvers<Ready>();
    this.#waiting?.ready.reject(new KilnError("CANCELLED", "another handshake was begun"));
    this.#waiting = { handshake, ready };
    this.#peerWindow = 0;
    const youngerThan = this.#frozenFrom ?? Number.POSITIVE_INFINITY;
    this.#frozenFrom = undefined;
    this.#unheard = this.#unheard.filter(({ stream }) => stream > youngerThan);
    this.#endStreams(new KilnError("VM_FAILED", "the guest was resumed: the stream is over"), youngerThan);
    this.#greet(handshake);

    // A guest that was left in the middle of a frame takes the greeting for payload: fill that frame up, greet again.
    const clearLine = setTimeout(
      () => this.#wire.write(Buffer.concat([Buffer.alloc(MAX_FRAME_BYTES), handshake.greeting()])),
      READY_PATIENCE_MS,
    );
    const deadline = setTimeout(
      () =>
        ready.reject(new KilnError("TIMEOUT", `the guest agent did not answer in ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    const cancel = () => ready.reject(new KilnError("CANCELLED", "cancelled while waiting for the guest"));
    options.signal?.addEventListener("abort", cancel);
    if (options.signal?.aborted) cancel();
    try {
      return await ready.promise;
    } finally {
      clearTimeout(clearLine);
      clearTimeout(deadline);
      options.signal?.removeEventListener("abort", cancel);
    }
  }

  #greet(handshake: Handshake): void {
    this.#generation = handshake.generation;
    this.#parser.resync();
    this.#wire.write(handshake.greeting());
    this.#repeat();
  }

  /** Sends what the guest has not heard. */
  #repeat(): void {
    for (const { stream, kind, payload, flags } of this.#unheard) {
      this.#wire.write(encodeFrame(kind, stream, this.#generation, payload, flags));
    }
  }

  /**
   * Makes the agent stand still for a snapshot. From now on nothing is sent: streams that are opened wait for the next
   * handshake, which ends those that are open.
   */
  async freeze(): Promise<void> {
    const stream = this.open({ kind: { $case: "freeze", value: {} } });
    const id = this.#nextStream - 1;
    this.#frozenFrom = id;
    this.#peerWindow = 0;
    unwrapReply(await stream.reply, "done");
  }

  /** Opens a stream for `request`. What comes goes to `sink`, or else to the stream's own queues. */
  open(request: Request, sink?: StreamSink): GuestStream {
    this.#throwIfFailed();
    if (this.#streams.size >= MAX_STREAMS) {
      throw new KilnError("LIMIT_REACHED", `${MAX_STREAMS} operations are already running in this sandbox`, {
        hint: "wait for some of them to end",
      });
    }
    const payload = Request.encode(request).finish();
    encodeFrame(Kind.open, 0, 0, payload); // Refuses one that is too long before there is a stream.
    const id = this.#nextStream++;
    const send = (kind: Kind, bytes: Uint8Array = Buffer.alloc(0), flags = 0) =>
      this.#send({ stream: id, kind, payload: bytes, flags });
    const stream = new GuestStream(HOST_WINDOW_BYTES, this.#peerWindow, send, sink);
    this.#streams.set(id, stream);
    void stream.reply.catch(() => undefined).finally(() => this.#streams.delete(id));
    send(Kind.open, payload).catch(() => undefined); // A broken connection is reported by `reply`.
    return stream;
  }

  /** Writes a frame; resolves when the wire takes more. */
  async #send(frame: SentFrame): Promise<void> {
    if (this.#failure) throw this.#failure;
    const { stream, kind, payload, flags } = frame;
    if (this.#frozenFrom !== undefined) {
      if (stream > this.#frozenFrom) this.#unheard.push(frame);
      return;
    }
    if (this.#waiting) this.#unheard.push(frame);
    const wire = this.#wire;
    if (wire.write(encodeFrame(kind, stream, this.#generation, payload, flags))) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        wire.off("drain", done).off("close", done);
        resolve();
      };
      wire.on("drain", done).on("close", done);
    });
    if (this.#failure) throw this.#failure;
  }

  #receive(chunk: Buffer): void {
    if (this.#failure) return;
    try {
      for (const frame of this.#parser.push(chunk)) this.#dispatch(frame);
    } catch (error) {
      this.fail(
        error instanceof KilnError
          ? error
          : new KilnError("GUEST_PROTOCOL", "the guest sent a message that does not parse", { cause: error }),
      );
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.kind === Kind.ready) {
      this.#receiveReady(frame);
      return;
    }
    if (frame.generation !== this.#generation) return;
    // A former host may have used this generation, and not have read all that was sent to it.
    if (this.#waiting) return;
    const stream = this.#streams.get(frame.stream);
    if (!stream) return; // It crossed our end of the stream.
    switch (frame.kind) {
      case Kind.data:
        stream.receiveData(frame);
        return;
      case Kind.credit:
        if (frame.payload.length !== 4)
          throw new KilnError("GUEST_PROTOCOL", "the guest sent a broken credit");
        stream.receiveCredit(frame.payload.readUInt32LE(0));
        return;
      case Kind.note:
        stream.receiveNote(Note.decode(frame.payload));
        return;
      case Kind.close: {
        const reply = Reply.decode(frame.payload);
        this.#streams.delete(frame.stream);
        stream.receiveReply(reply);
        return;
      }
      default:
        throw new KilnError(
          "GUEST_PROTOCOL",
          `the guest sent a frame only a host may send (kind ${frame.kind})`,
        );
    }
  }

  #receiveReady(frame: Frame): void {
    if (!this.#waiting) return; // The second answer to a greeting that was sent twice.
    const { handshake, ready } = this.#waiting;
    const answer = Ready.decode(frame.payload);
    const verdict = handshake.judge(answer, frame.generation);
    if (verdict.kind === "ignore") return;
    if (verdict.kind === "retry") {
      this.#greet(handshake);
      return;
    }
    this.#waiting = undefined;
    if (verdict.kind === "refuse") {
      ready.reject(verdict.error);
      return;
    }
    if (verdict.again) this.#repeat();
    this.#unheard = [];
    this.#peerWindow = answer.window;
    for (const stream of this.#streams.values()) stream.receiveCredit(answer.window);
    ready.resolve(answer);
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Ends the streams up to and with id `last`. */
  #endStreams(error: KilnError, last = Number.POSITIVE_INFINITY): void {
    for (const [id, stream] of [...this.#streams]) {
      if (id > last) continue;
      this.#streams.delete(id);
      stream.fail(error);
    }
  }

  /** Lets go of the wire; streams that are open end with `error`. */
  fail(error: KilnError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#waiting?.ready.reject(error);
    this.#endStreams(error);
    this.#closed.resolve(error);
    this.#wire.destroy();
  }
}
