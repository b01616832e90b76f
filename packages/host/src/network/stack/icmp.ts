import { GATEWAY, type Ipv4 } from "../address.ts";
import { Checksum } from "./checksum.ts";
import type { LinkWriter } from "./link-writer.ts";
import type { Packet } from "./packet.ts";

const ICMP = 1;
const HEADER = 8;
const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
const UNREACHABLE = 3;
/** Bytes of the refused packet's payload that are sent back: RFC 792's eight, which hold the ports. */
const QUOTED = 8;

/** Codes of "destination unreachable". Linux makes of them: EHOSTUNREACH, ECONNREFUSED (for UDP), EHOSTUNREACH. */
export const HOST_UNREACHABLE = 1;
export const PORT_UNREACHABLE = 3;
export const PROHIBITED = 13;

/** Tells the guest that its packet went nowhere, and why. */
export function sendUnreachable(out: LinkWriter, code: number, packet: Packet): void {
  const { buffer, header, payload, end } = packet;
  const quoted = payload - header + Math.min(QUOTED, end - payload);
  writeMessage(out, GATEWAY, UNREACHABLE, code, 0, buffer, header, header + quoted);
}

/** The beginning of a packet that arrived earlier, to say later what became of it. */
export function quote({ buffer, header, payload, end, ...rest }: Packet): Packet {
  const kept = Buffer.from(buffer.subarray(header, Math.min(payload + QUOTED, end)));
  return { ...rest, buffer: kept, header: 0, payload: payload - header, end: kept.length };
}

/** Answers an echo request to one of our addresses. */
export function answerEcho(out: LinkWriter, { buffer, payload, end, destination }: Packet): void {
  if (end - payload < HEADER || buffer[payload] !== ECHO_REQUEST || buffer[payload + 1] !== 0) return;
  const rest = buffer.readUInt32BE(payload + 4);
  writeMessage(out, destination, ECHO_REPLY, 0, rest, buffer, payload + HEADER, end);
}

function writeMessage(
  out: LinkWriter,
  source: Ipv4,
  type: number,
  code: number,
  rest: number,
  content: Buffer,
  start: number,
  end: number,
): void {
  const at = out.beginIpv4(ICMP, source, HEADER + end - start);
  const { buffer } = out;
  buffer.writeUInt16BE((type << 8) | code, at);
  buffer.writeUInt16BE(0, at + 2);
  buffer.writeUInt32BE(rest, at + 4);
  content.copy(buffer, at + HEADER, start, end);
  buffer.writeUInt16BE(new Checksum().bytes(buffer, at, at + HEADER + end - start).value, at + 2);
}
