import type { Ipv4 } from "../address.ts";
import { Checksum } from "../stack/checksum.ts";
import { IPV4_HEADER, type LinkWriter, MTU } from "../stack/link-writer.ts";
import { type Packet, PROTOCOL } from "../stack/packet.ts";

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const HEADER = 20;
/** Most bytes of data in a segment to the guest. */
export const MAX_SEGMENT = MTU - IPV4_HEADER - HEADER;
/** What a host that names no other is sent (RFC 9293, 3.7.1). */
const DEFAULT_SEGMENT = 536;
const MIN_SEGMENT = 64;
const MAX_WINDOW_SHIFT = 14;

/** How far `a` is after `b`, both sequence numbers. */
export const after = (a: number, b: number): number => (a - b) | 0;

/** `a` moved on. */
export const advance = (a: number, by: number): number => (a + by) >>> 0;

/** A segment of the guest. */
export interface Segment {
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: number;
  /** As it is in the header, unscaled. */
  window: number;
  buffer: Buffer;
  /** Where its options, its data begin, and it ends. */
  options: number;
  data: number;
  end: number;
}

/** Undefined when the header is not whole. */
export function parseSegment({ buffer, payload, end }: Packet): Segment | undefined {
  if (end - payload < HEADER) return undefined;
  const data = payload + (buffer.readUInt8(payload + 12) >> 4) * 4;
  if (data < payload + HEADER || data > end) return undefined;
  return {
    sourcePort: buffer.readUInt16BE(payload),
    destinationPort: buffer.readUInt16BE(payload + 2),
    sequence: buffer.readUInt32BE(payload + 4),
    acknowledgment: buffer.readUInt32BE(payload + 8),
    flags: buffer.readUInt8(payload + 13),
    window: buffer.readUInt16BE(payload + 14),
    buffer,
    options: payload + HEADER,
    data,
    end,
  };
}

/** What the guest says of itself in its SYN. */
export interface SynOptions {
  maxSegment: number;
  /** Undefined when it does not scale windows. */
  windowShift: number | undefined;
}

/** Reads the options up to the first that is not whole. */
export function parseSynOptions({ buffer, options, data }: Segment): SynOptions {
  const found: SynOptions = { maxSegment: DEFAULT_SEGMENT, windowShift: undefined };
  let at = options;
  while (at < data) {
    const kind = buffer.readUInt8(at);
    if (kind === 0) break;
    if (kind === 1) {
      at += 1;
      continue;
    }
    const length = at + 1 < data ? buffer.readUInt8(at + 1) : 0;
    if (length < 2 || at + length > data) break;
    if (kind === 2 && length === 4) found.maxSegment = buffer.readUInt16BE(at + 2);
    if (kind === 3 && length === 3) found.windowShift = Math.min(buffer.readUInt8(at + 2), MAX_WINDOW_SHIFT);
    at += length;
  }
  found.maxSegment = Math.max(MIN_SEGMENT, Math.min(found.maxSegment, MAX_SEGMENT));
  return found;
}

/** Both ends of a connection, as the guest sees it. */
export interface Ends {
  address: Ipv4;
  port: number;
  guestPort: number;
}

/** What a segment to the guest says. */
export interface Outgoing {
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  /** Only with SYN. @default none */
  windowShift?: number | undefined;
}

/** Writes a segment whose data, `length` bytes, `fill` puts into place. */
export function sendSegment(
  out: LinkWriter,
  { address, port, guestPort }: Ends,
  { sequence, acknowledgment, flags, window, windowShift }: Outgoing,
  length = 0,
  fill?: (buffer: Buffer, at: number) => void,
): void {
  const options = (flags & SYN) === 0 ? 0 : windowShift === undefined ? 4 : 8;
  const at = out.beginIpv4(PROTOCOL.tcp, address, HEADER + options + length);
  const { buffer } = out;
  buffer.writeUInt16BE(port, at);
  buffer.writeUInt16BE(guestPort, at + 2);
  buffer.writeUInt32BE(sequence, at + 4);
  buffer.writeUInt32BE(acknowledgment, at + 8);
  buffer.writeUInt16BE((((HEADER + options) / 4) << 12) | flags, at + 12);
  buffer.writeUInt16BE(window, at + 14);
  buffer.writeUInt32BE(0, at + 16);
  if (options >= 4) buffer.writeUInt32BE(0x02040000 | MAX_SEGMENT, at + 20);
  if (options === 8) buffer.writeUInt32BE(0x01030300 | (windowShift ?? 0), at + 24);
  fill?.(buffer, at + HEADER + options);
  const size = HEADER + options + length;
  // Addresses, protocol and length: the pseudo header, the addresses being in the packet's own.
  const checksum = new Checksum()
    .bytes(buffer, at - 8, at)
    .word(PROTOCOL.tcp)
    .word(size)
    .bytes(buffer, at, at + size);
  buffer.writeUInt16BE(checksum.value, at + 16);
}

/** Tells the guest that there is no such connection; never in answer to the same. */
export function sendReset(out: LinkWriter, ends: Ends, segment: Segment): void {
  if ((segment.flags & RST) !== 0) return;
  const taken = segment.end - segment.data + (segment.flags & SYN ? 1 : 0) + (segment.flags & FIN ? 1 : 0);
  const answers = (segment.flags & ACK) !== 0;
  sendSegment(out, ends, {
    sequence: answers ? segment.acknowledgment : 0,
    acknowledgment: answers ? 0 : advance(segment.sequence, taken),
    flags: answers ? RST : RST | ACK,
    window: 0,
  });
}
