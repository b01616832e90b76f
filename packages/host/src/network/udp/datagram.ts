import type { Ipv4 } from "../address.ts";
import { Checksum } from "../stack/checksum.ts";
import { IPV4_HEADER, type LinkWriter, MTU } from "../stack/link-writer.ts";
import { type Packet, PROTOCOL } from "../stack/packet.ts";

const HEADER = 8;
/** Longest datagram to the guest: packets are not cut into fragments. */
export const MAX_DATAGRAM = MTU - IPV4_HEADER - HEADER;

export interface Datagram {
  sourcePort: number;
  destinationPort: number;
  /** In the packet's buffer: copy what is to be kept. */
  data: Buffer;
}

/** Undefined when it is not whole. */
export function parseDatagram({ buffer, payload, end }: Packet): Datagram | undefined {
  if (end - payload < HEADER) return undefined;
  const length = buffer.readUInt16BE(payload + 4);
  if (length < HEADER || payload + length > end) return undefined;
  return {
    sourcePort: buffer.readUInt16BE(payload),
    destinationPort: buffer.readUInt16BE(payload + 2),
    data: buffer.subarray(payload + HEADER, payload + length),
  };
}

/** Sends a datagram to the guest, unless it is too long or the guest does not take what it gets. */
export function sendDatagram(
  out: LinkWriter,
  address: Ipv4,
  port: number,
  guestPort: number,
  data: Buffer,
): void {
  if (data.length > MAX_DATAGRAM || out.congested) return;
  const size = HEADER + data.length;
  const at = out.beginIpv4(PROTOCOL.udp, address, size);
  const { buffer } = out;
  buffer.writeUInt16BE(port, at);
  buffer.writeUInt16BE(guestPort, at + 2);
  buffer.writeUInt16BE(size, at + 4);
  buffer.writeUInt16BE(0, at + 6);
  data.copy(buffer, at + HEADER);
  const checksum = new Checksum()
    .bytes(buffer, at - 8, at)
    .word(PROTOCOL.udp)
    .word(size)
    .bytes(buffer, at, at + size);
  // Zero would mean that there is none.
  buffer.writeUInt16BE(checksum.value || 0xffff, at + 6);
}
