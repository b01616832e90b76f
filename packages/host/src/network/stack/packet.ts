import { GUEST, type Ipv4 } from "../address.ts";
import { ETHERNET_HEADER, IPV4_HEADER } from "./link-writer.ts";

/** An IPv4 packet of the guest, in the buffer it arrived in. */
export interface Packet {
  buffer: Buffer;
  /** Where its header begins, its payload begins, and it ends. */
  header: number;
  payload: number;
  end: number;
  protocol: number;
  source: Ipv4;
  destination: Ipv4;
}

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;

/** `start` and `end` of the ARP message or IPv4 packet in a frame. */
export type Frame =
  | { kind: "arp"; buffer: Buffer; start: number; end: number }
  | ({ kind: "ipv4" } & Packet)
  | { kind: "other" };

const OTHER: Frame = { kind: "other" };

/**
 * Looks at a frame of the guest. What is not whole, not ours to answer or a fragment is "other". Checksums are not looked at: the link is
 * a local socket, and a guest that lies can only harm itself.
 */
export function parseFrame(buffer: Buffer, start: number, end: number): Frame {
  if (end - start < ETHERNET_HEADER) return OTHER;
  const etherType = buffer.readUInt16BE(start + 12);
  const content = start + ETHERNET_HEADER;
  if (etherType === 0x0806) return { kind: "arp", buffer, start: content, end };
  return etherType === 0x0800 ? parseIpv4Packet(buffer, content, end) : OTHER;
}

function parseIpv4Packet(buffer: Buffer, header: number, frameEnd: number): Frame {
  if (frameEnd - header < IPV4_HEADER) return OTHER;
  const first = buffer.readUInt8(header);
  const payload = header + (first & 15) * 4;
  const end = header + buffer.readUInt16BE(header + 2);
  // A short packet has padding after it; options are skipped.
  if (first >> 4 !== 4 || payload < header + IPV4_HEADER || payload > end || end > frameEnd) return OTHER;
  // "More fragments", or not the first of them.
  if ((buffer.readUInt16BE(header + 6) & 0x3fff) !== 0) return OTHER;
  const source = buffer.readUInt32BE(header + 12);
  if (source !== GUEST) return OTHER;
  const protocol = buffer.readUInt8(header + 9);
  const destination = buffer.readUInt32BE(header + 16);
  return { kind: "ipv4", buffer, header, payload, end, protocol, source, destination };
}
