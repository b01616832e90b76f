import { connect, type Socket } from "node:net";
import type { NetworkOptions, NetworkStats } from "../control-protocol.ts";
import { GuestNetwork } from "../guest-network.ts";
import type { HostAddresses } from "../host-addresses.ts";
import { FrameReader } from "../stack/frame-reader.ts";

/** Between attempts to reach a VM that does not listen (yet, or any more). */
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 1_000;
const READ_BYTES = 256 * 1024;

/**
 * One sandbox's link: the connection to its VM, and the network behind it. A new connection is a new network; what the guest had
 * open in the old one is answered with resets.
 */
export class Link {
  readonly options: NetworkOptions;
  readonly #host: HostAddresses;
  #network: GuestNetwork;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #closed = false;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);

  constructor(options: NetworkOptions, host: HostAddresses) {
    this.options = options;
    this.#host = host;
    this.#network = this.#newNetwork();
    this.#connect();
  }

  /** What is to be done as time passes. */
  tick(now: number): void {
    this.#network.tick(now);
  }

  stats(): NetworkStats {
    return { linked: this.#socket !== undefined, ...this.#network.stats() };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#network.close();
  }

  #newNetwork(): GuestNetwork {
    const send = (batch: Buffer, done: () => void) => {
      if (this.#socket === undefined) done();
      else this.#socket.write(batch, () => done());
    };
    return new GuestNetwork(this.options.policy, this.#host, send);
  }

  #connect(): void {
    const network = this.#network;
    const reader = new FrameReader((buffer, start, end) => network.receive(buffer, start, end));
    const buffer = this.#buffer;
    const onread = {
      buffer,
      callback: (count: number) => {
        if (!reader.push(buffer.subarray(0, count))) socket.destroy();
        else network.afterFrames();
        return true;
      },
    };
    // QEMU waits, and its guest with it, until what it sends is taken: this is always read from.
    const socket = connect({ path: this.options.socketPath, onread });
    socket.once("connect", () => {
      this.#socket = socket;
      this.#retryMs = FIRST_RETRY_MS;
    });
    socket.on("error", () => socket.destroy());
    socket.once("end", () => socket.destroy());
    socket.once("close", () => this.#lost(socket));
  }

  #lost(socket: Socket): void {
    if (this.#closed) return;
    if (this.#socket === socket) {
      this.#socket = undefined;
      this.#network.close();
      this.#network = this.#newNetwork();
    }
    this.#timer = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }
}
