import type { Socket } from "node:net";

/** Bytes of one output buffer. Small enough to stay in the processor's cache between filling and sending. */
const BUFFER_SIZE = 260 * 1024;

/** Longest piece that is sure to fit into a buffer, in bytes. */
export const MAX_CLAIM = BUFFER_SIZE;

/** Buffers on their way to one client, at most: then the client is slow and gets no more until it has read. */
const MAX_QUEUED = 3;

/** Unused buffers kept for the next reply of any connection. */
const MAX_SPARE = 8;
const spare: Buffer[] = [];

/**
 * The replies of one connection. They are gathered in a buffer and go out in one write. The kernel mostly takes it
 * whole at once, and the buffer is used again; else it is queued and another one takes its place.
 */
export class Output {
  readonly #socket: Socket;
  readonly #onDrain: () => void;
  #buffer: Buffer | undefined;
  #used = 0;
  #queued = 0;

  /** `onDrain` is called when a queued buffer has left. */
  constructor(socket: Socket, onDrain: () => void) {
    this.#socket = socket;
    this.#onDrain = onDrain;
  }

  /** Whether the client doesn't keep up: make no more replies until `onDrain`. */
  get congested(): boolean {
    return this.#queued >= MAX_QUEUED;
  }

  get idle(): boolean {
    return this.#queued === 0 && this.#used === 0;
  }

  /** Bytes gathered and not sent. */
  get used(): number {
    return this.#used;
  }

  /** Room for `length` bytes (at most `MAX_CLAIM`), as a position in `bytes`. */
  claim(length: number): number {
    if (this.#used + length > BUFFER_SIZE) this.flush();
    const at = this.#used;
    this.#used += length;
    return at;
  }

  /** Takes back what was claimed last. */
  unclaim(length: number): void {
    this.#used -= length;
  }

  /** The buffer that positions from `claim` lie in; ask after each `claim`. */
  get bytes(): Buffer {
    this.#buffer ??= spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_SIZE);
    return this.#buffer;
  }

  /** Sends what was gathered. */
  flush(): void {
    const buffer = this.#buffer;
    if (buffer === undefined || this.#used === 0) return;
    let queued = false;
    this.#socket.write(buffer.subarray(0, this.#used), () => {
      if (!queued) return;
      this.#queued--;
      release(buffer);
      this.#onDrain();
    });
    this.#used = 0;
    // Nothing left to write means that the kernel has taken every byte already.
    if (this.#socket.writableLength === 0) return;
    queued = true;
    this.#queued++;
    this.#buffer = undefined;
  }

  /** Gives the empty buffer back while there is nothing to say. */
  rest(): void {
    if (this.#buffer === undefined || this.#used > 0) return;
    release(this.#buffer);
    this.#buffer = undefined;
  }
}

function release(buffer: Buffer): void {
  if (spare.length < MAX_SPARE) spare.push(buffer);
}
