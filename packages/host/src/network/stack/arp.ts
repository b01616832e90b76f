import { GATEWAY, GUEST, NAME_SERVER } from "../address.ts";
import { type LinkWriter, OWN_MAC } from "./link-writer.ts";

/** An ARP message for IPv4 over Ethernet (RFC 826). */
const MESSAGE = 28;
const FIXED = Buffer.from("0001080006040001", "hex");

/** Answers a request of the guest for one of our addresses, and learns the guest's hardware address from it. */
export function answerArp(out: LinkWriter, buffer: Buffer, start: number, end: number): void {
  if (end - start < MESSAGE || buffer.compare(FIXED, 0, FIXED.length, start, start + FIXED.length) !== 0)
    return;
  const sender = buffer.readUInt32BE(start + 14);
  const target = buffer.readUInt32BE(start + 24);
  if (sender !== GUEST || (target !== GATEWAY && target !== NAME_SERVER)) return;
  buffer.copy(out.guestMac, 0, start + 8, start + 14);
  const at = out.begin(0x0806, MESSAGE);
  FIXED.copy(out.buffer, at);
  out.buffer.writeUInt16BE(2, at + 6);
  OWN_MAC.copy(out.buffer, at + 8);
  out.buffer.writeUInt32BE(target, at + 14);
  out.guestMac.copy(out.buffer, at + 18);
  out.buffer.writeUInt32BE(GUEST, at + 24);
}
