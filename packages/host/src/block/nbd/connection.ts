import { Socket } from "node:net";
import type { Export, Exports } from "./export.ts";
import { Handshake } from "./handshake.ts";
import { Input } from "./input.ts";
import { Output } from "./output.ts";
import { Transmission } from "./transmission.ts";

/** Longest handshake; real ones take well under a millisecond. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** How long a client that said goodbye, or was sent away, may take to read its last replies. */
const GOODBYE_TIMEOUT_MS = 5_000;

/** One client: its socket, what it has sent, what it is sent, and the phase it is in. Closing it releases everything. */
export class Connection {
  readonly #socket: Socket;
  readonly #input = new Input();
  readonly #output: Output;
  readonly #handshake: Handshake;
  #transmission: Transmission | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ending = false;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;

  /** Takes over `accepted`, a socket that was accepted paused. */
  constructor(accepted: Socket, exports: Exports) {
    this.#socket = receiveInPlace(accepted, this.#input, () => this.#received());
    this.#output = new Output(this.#socket, () => this.#proceed());
    this.closed = new Promise((resolve) => {
      this.#socket.once("close", () => {
        clearTimeout(this.#timer);
        resolve();
      });
    });
    // A client may vanish at any time; "close" follows.
    this.#socket.on("error", () => this.#socket.destroy());
    this.#socket.on("end", () => this.#end());
    this.#timer = setTimeout(() => this.destroy(), HANDSHAKE_TIMEOUT_MS);
    this.#handshake = new Handshake(exports, this.#input, this.#output);
    this.#socket.resume();
  }

  /** The export the client has chosen, once it has. */
  get export(): Export | undefined {
    return this.#handshake.chosen;
  }

  /** Goes on with requests that waited for the disk. */
  wake(): void {
    this.#proceed();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Whether to go on reading. */
  #received(): boolean {
    if (this.#socket.destroyed || this.#ending) return false;
    if (this.#transmission === undefined) {
      const step = this.#handshake.step();
      if (step === "close") this.#end();
      if (step !== "ready") return step === "more";
      this.#begin();
    }
    return this.#pump();
  }

  #begin(): void {
    const { chosen, structured, blockStatus } = this.#handshake;
    if (chosen === undefined) return;
    clearTimeout(this.#timer);
    this.#transmission = new Transmission(
      chosen,
      this.#input,
      this.#output,
      { structured, blockStatus },
      () => this.#proceed(),
    );
  }

  #pump(): boolean {
    const pumped = this.#transmission?.pump();
    if (pumped === "close") this.#end();
    if (pumped === "hungry") this.#output.rest();
    if (pumped === "again") setImmediate(() => this.#proceed());
    return pumped === "hungry";
  }

  /** Goes on after an output buffer has left or a flush is done. */
  #proceed(): void {
    if (this.#socket.destroyed || this.#ending || this.#transmission === undefined) return;
    if (this.#pump()) this.#socket.resume();
  }

  #end(): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#output.flush();
    this.#output.rest();
    this.#socket.end(() => this.#socket.destroy());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.destroy(), GOODBYE_TIMEOUT_MS);
  }
}

/**
 * A socket that reads into `input` instead of a new buffer for every read. Node offers that (`onread`) to sockets it
 * connects, not to those it accepts, so the accepted socket's handle moves into a new one.
 */
function receiveInPlace(accepted: Socket, input: Input, received: () => boolean): Socket {
  const holder = accepted as unknown as { _handle: unknown };
  const handle = holder._handle;
  holder._handle = null;
  return new Socket({
    handle,
    onread: {
      buffer: () => input.target(),
      callback: (count: number) => {
        input.end += count;
        return received();
      },
    },
  } as ConstructorParameters<typeof Socket>[0]);
}
