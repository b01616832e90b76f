import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../errors.ts";
import { encodeFrame, type Frame, FrameParser, Kind, MAX_FRAME_BYTES, SYNC } from "./frame.ts";
import { Hello, type Identity, Ready, Reply, Request } from "./gen/kiln/agent/v1/agent.ts";
import { GuestStream } from "./stream.ts";

const PROTOCOL_VERSION = 1;
/** Bytes a guest may send on one stream before what it sent was read. */
export const HOST_WINDOW_BYTES = 262_144;
const MIN_WINDOW_BYTES = 1;
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;
/** Streams open at once on one connection. */
const MAX_STREAMS = 512;
/** How long a guest may take to answer HELLO before the host clears its line. */
const READY_PATIENCE_MS = 2_000;
/** Between a VM's wire breaking and its process being known to be gone. */
const EXPLANATION_PATIENCE_MS = 2_000;

export interface HandshakeOptions {
  /** Greater than every generation this guest has seen. */
  generation: number;
  /** Given after a boot or a resume. */
  identity?: Identity;
  /** How long the guest may take to answer in all, in milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal;
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
  #ready: PromiseWithResolvers<Ready> | undefined;
  #failure: KilnError | undefined;
  readonly #closed = Promise.withResolvers<KilnError>();

  /**
   * @param explain is asked for the reason when the wire breaks, as whoever owns the VM knows more; it has
   * `EXPLANATION_PATIENCE_MS` to find out.
   */
  constructor(wire: Duplex, explain?: () => Promise<KilnError>) {
    this.#wire = wire;
    wire.on("data", (chunk: Buffer) => this.#receive(chunk));
    const broke = (cause?: Error) => void this.#explain(explain, cause).then((error) => this.fail(error));
    wire.on("error", broke);
    wire.once("close", () => broke());
  }

  async #explain(explain: (() => Promise<KilnError>) | undefined, cause?: Error): Promise<KilnError> {
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

  /**
   * Starts a generation. Resolves when the guest has answered; streams may be opened before that.
   * @throws KilnError `TIMEOUT`, `CANCELLED`, `GUEST_PROTOCOL` or `VM_FAILED`.
   */
  async handshake(options: HandshakeOptions): Promise<Ready> {
    this.#throwIfFailed();
    this.#generation = options.generation;
    this.#peerWindow = 0;
    this.#parser.resync();
    this.#endStreams(new KilnError("VM_FAILED", "the guest was resumed: the stream is over"));
    const ready = Promise.withResolvers<Ready>();
    this.#ready = ready;
    const hello = Buffer.from(
      Hello.encode({
        version: PROTOCOL_VERSION,
        minVersion: PROTOCOL_VERSION,
        window: HOST_WINDOW_BYTES,
        identity: options.identity,
      }).finish(),
    );
    const greeting = Buffer.concat([SYNC, encodeFrame(Kind.hello, 0, options.generation, hello)]);
    this.#wire.write(greeting);

    // A guest that was left in the middle of a frame takes the greeting for payload: fill that frame up, greet again.
    const clearLine = setTimeout(
      () => this.#wire.write(Buffer.concat([Buffer.alloc(MAX_FRAME_BYTES), greeting])),
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

  /** Opens a stream for `request`. */
  open(request: Request): GuestStream {
    this.#throwIfFailed();
    if (this.#streams.size >= MAX_STREAMS) {
      throw new KilnError("GUEST_ERROR", `${MAX_STREAMS} operations are already running in this sandbox`);
    }
    const id = this.#nextStream++;
    const frame = encodeFrame(Kind.open, id, this.#generation, Request.encode(request).finish());
    const stream = new GuestStream(HOST_WINDOW_BYTES, this.#peerWindow, (kind, payload, flags) =>
      this.#send(encodeFrame(kind, id, this.#generation, payload, flags)),
    );
    this.#streams.set(id, stream);
    void stream.reply.catch(() => undefined).finally(() => this.#streams.delete(id));
    this.#send(frame);
    return stream;
  }

  /** Writes a frame; resolves when the wire takes more. */
  async #send(frame: Buffer): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#wire.write(frame)) return;
    await Promise.race([
      new Promise<void>((resolve) => this.#wire.once("drain", resolve)),
      this.#closed.promise.then((error) => Promise.reject(error)),
    ]);
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
    if (this.#ready) throw new KilnError("GUEST_PROTOCOL", "the guest spoke before it was ready");
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
      case Kind.close:
        stream.receiveReply(Reply.decode(frame.payload));
        return;
      default:
        throw new KilnError(
          "GUEST_PROTOCOL",
          `the guest sent a frame only a host may send (kind ${frame.kind})`,
        );
    }
  }

  #receiveReady(frame: Frame): void {
    const waiting = this.#ready;
    if (!waiting) return; // The second answer to a greeting that was sent twice.
    const ready = Ready.decode(frame.payload);
    if (ready.error && ready.version === 0) {
      const message = `the guest agent refused the handshake: ${ready.error.message.slice(0, 200)}`;
      this.#ready = undefined;
      waiting.reject(new KilnError("GUEST_PROTOCOL", message));
      return;
    }
    if (frame.generation !== this.#generation) return; // From an earlier life.
    if (
      ready.version !== PROTOCOL_VERSION ||
      ready.window < MIN_WINDOW_BYTES ||
      ready.window > MAX_WINDOW_BYTES
    ) {
      throw new KilnError("GUEST_PROTOCOL", `the guest agent answered with version ${ready.version}`, {
        hint: "its template was built by another version of Kiln: remove it by kiln template rm, and build it again",
      });
    }
    this.#ready = undefined;
    this.#peerWindow = ready.window;
    for (const stream of this.#streams.values()) stream.receiveCredit(ready.window);
    waiting.resolve(ready);
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  #endStreams(error: KilnError): void {
    for (const stream of this.#streams.values()) stream.fail(error);
    this.#streams.clear();
  }

  /** Lets go of the wire; streams that are open end with `error`. */
  fail(error: KilnError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#ready?.reject(error);
    this.#endStreams(error);
    this.#closed.resolve(error);
    this.#wire.destroy();
  }
}
