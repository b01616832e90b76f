import { GUEST, type Ipv4 } from "../address.ts";
import { Checksum } from "./checksum.ts";
import { LENGTH_BYTES } from "./frame-reader.ts";

/** Largest IPv4 packet on the link, as its card says (`host_mtu`). */
export const MTU = 15_360;
export const IPV4_HEADER = 20;
export const ETHERNET_HEADER = 14;
/** Ours, for gateway and name server alike: a locally administered address, "Kin". */
export const OWN_MAC = Buffer.from("024b696c6e01", "hex");

const BATCH_BYTES = 256 * 1024;
/** Bytes on their way to QEMU from which on whoever can wait is to wait. */
const CONGESTED_BYTES = 512 * 1024;
/** Written batches that are kept to be filled again. */
const SPARE_BATCHES = 2;
/** Bytes under way beyond which frames are dropped, those of whoever could not wait. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Passes bytes on, and calls `done` when they are gone. */
export type Send = (batch: Buffer, done: () => void) => void;

/**
 * Builds frames to the guest. They are gathered into batches: one write for all that a turn of the event loop brings.
 */
export class LinkWriter {
  /** Where the frame that was begun last is built. */
  buffer: Buffer = Buffer.allocUnsafeSlow(BATCH_BYTES);
  /** Learned from what the guest sends. */
  readonly guestMac = Buffer.alloc(6, 0xff);
  /** Frames and bytes sent, without their lengths. */
  frames = 0;
  bytes = 0;
  readonly #send: Send;
  readonly #spare: Buffer[] = [];
  readonly #waiting = new Set<() => void>();
  #end = 0;
  #underWay = 0;
  #flushing = false;
  #identification = 0;

  constructor(send: Send) {
    this.#send = send;
  }

  get congested(): boolean {
    return this.#underWay + this.#end > CONGESTED_BYTES;
  }

  /** Whether not even a short answer should be added. */
  get full(): boolean {
    return this.#underWay + this.#end > MAX_BYTES;
  }

  /** Calls back, once, when there is room again. */
  onRoom(callback: () => void): void {
    this.#waiting.add(callback);
  }

  /** Begins a frame of `length` bytes after its Ethernet header, which is written. Returns where they begin in `buffer`. */
  begin(etherType: number, length: number): number {
    const size = LENGTH_BYTES + ETHERNET_HEADER + length;
    if (this.#end + size > this.buffer.length) this.flush();
    const { buffer } = this;
    const start = this.#end;
    buffer.writeUInt32BE(ETHERNET_HEADER + length, start);
    this.guestMac.copy(buffer, start + LENGTH_BYTES);
    OWN_MAC.copy(buffer, start + LENGTH_BYTES + 6);
    buffer.writeUInt16BE(etherType, start + LENGTH_BYTES + 12);
    this.#end += size;
    this.frames += 1;
    this.bytes += ETHERNET_HEADER + length;
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.flush());
    }
    return start + LENGTH_BYTES + ETHERNET_HEADER;
  }

  /** Begins an IPv4 packet to the guest, header written. Returns where its `length` bytes of payload begin in `buffer`. */
  beginIpv4(protocol: number, source: Ipv4, length: number): number {
    const start = this.begin(0x0800, IPV4_HEADER + length);
    const { buffer } = this;
    buffer.writeUInt16BE(0x4500, start);
    buffer.writeUInt16BE(IPV4_HEADER + length, start + 2);
    this.#identification = (this.#identification + 1) & 0xffff;
    buffer.writeUInt16BE(this.#identification, start + 4);
    buffer.writeUInt16BE(0x4000, start + 6);
    buffer.writeUInt16BE((64 << 8) | protocol, start + 8);
    buffer.writeUInt16BE(0, start + 10);
    buffer.writeUInt32BE(source, start + 12);
    buffer.writeUInt32BE(GUEST, start + 16);
    buffer.writeUInt16BE(new Checksum().bytes(buffer, start, start + IPV4_HEADER).value, start + 10);
    return start + IPV4_HEADER;
  }

  /** Sends what has been built. */
  flush(): void {
    this.#flushing = false;
    const size = this.#end;
    if (size === 0) return;
    const batch = this.buffer;
    this.buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES);
    this.#end = 0;
    this.#underWay += size;
    this.#send(batch.subarray(0, size), () => {
      this.#underWay -= size;
      if (this.#spare.length < SPARE_BATCHES) this.#spare.push(batch);
      if (!this.congested) this.#wake();
    });
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of waiting) callback();
  }
}
