import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/**
 * The byte stream to the agent of a VM whose vsock device forgets its connections with every snapshot: `detach` before one, `attach`
 * with another connection when the guest goes on. Between the two nothing is sent or heard, as the guest protocol's Freeze has it.
 */
export class AgentWire extends Duplex {
  #socket: Socket | undefined;
  #waiting: { chunk: Buffer; callback: (error?: Error | null) => void } | undefined;

  /** @param socket none for a guest that is paused. */
  constructor(socket?: Socket) {
    super({ allowHalfOpen: false });
    if (socket) this.#take(socket);
  }

  get isAttached(): boolean {
    return this.#socket !== undefined;
  }

  /** Lets go of the connection. */
  detach(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  /** Goes on by another connection. */
  attach(socket: Socket): void {
    this.detach();
    this.#take(socket);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) this._write(waiting.chunk, "buffer", waiting.callback);
  }

  #take(socket: Socket): void {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      if (this.#socket === socket && !this.push(chunk)) socket.pause();
    });
    socket.once("close", () => {
      if (this.#socket === socket) this.destroy();
    });
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.#socket === undefined) this.#waiting = { chunk, callback };
    else this.#socket.write(chunk, callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.detach();
    this.#waiting?.callback();
    callback(error);
  }
}
