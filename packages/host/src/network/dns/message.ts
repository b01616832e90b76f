import type { Ipv4 } from "../address.ts";

/** A DNS message (RFC 1035, 4): what is needed of a question, and answers with addresses. */

const HEADER = 12;
const MAX_NAME = 255;

export const TYPE = { a: 1, ptr: 12, aaaa: 28 } as const;
export const CODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;
const CLASS_IN = 1;
/** Most addresses in an answer: with a name of any length they fit into 512 bytes, which needs no agreement. */
const MAX_ADDRESSES = 12;

export interface Question {
  id: number;
  /** As asked, with dots, without the last; undefined for one no host has, such as with a dot in a label. */
  name: string | undefined;
  type: number;
  isInternet: boolean;
  /** "Recursion desired", to be repeated. */
  recursion: boolean;
  /** The question section, to be repeated. */
  section: Buffer;
}

/** Undefined when there is nothing to answer; a number is the code to answer with. */
export function parseQuery(message: Buffer): Question | { id: number; code: number } | undefined {
  if (message.length < HEADER) return undefined;
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return undefined;
  if ((flags & 0x7800) !== 0) return { id, code: CODE.notImplemented };
  if (message.readUInt16BE(4) !== 1) return { id, code: CODE.formatError };
  const labels: string[] = [];
  let at = HEADER;
  for (;;) {
    const length = message[at];
    // A question has nothing before it to point at.
    if (length === undefined || length > 63 || at + 1 + length > message.length)
      return { id, code: CODE.formatError };
    at += 1;
    if (length === 0) break;
    labels.push(message.toString("latin1", at, at + length));
    at += length;
    if (at - HEADER > MAX_NAME - 1) return { id, code: CODE.formatError };
  }
  if (at + 4 > message.length) return { id, code: CODE.formatError };
  return {
    id,
    name: labels.every((label) => /^[A-Za-z0-9_-]+$/.test(label)) ? labels.join(".") : undefined,
    type: message.readUInt16BE(at),
    isInternet: message.readUInt16BE(at + 2) === CLASS_IN,
    recursion: (flags & 0x0100) !== 0,
    section: Buffer.from(message.subarray(HEADER, at + 4)),
  };
}

/** An answer with a code and, if any, addresses that hold for `ttl` seconds. */
export function writeAnswer(
  question: Question,
  code: number,
  addresses: readonly Ipv4[] = [],
  ttl = 0,
): Buffer {
  const told = addresses.slice(0, MAX_ADDRESSES);
  const { section } = question;
  const answer = Buffer.alloc(HEADER + section.length + told.length * 16);
  writeHeader(answer, question.id, code, question.recursion);
  answer.writeUInt16BE(1, 4);
  answer.writeUInt16BE(told.length, 6);
  section.copy(answer, HEADER);
  let at = HEADER + section.length;
  for (const address of told) {
    answer.writeUInt16BE(0xc000 | HEADER, at);
    answer.writeUInt16BE(TYPE.a, at + 2);
    answer.writeUInt16BE(CLASS_IN, at + 4);
    answer.writeUInt32BE(ttl, at + 6);
    answer.writeUInt16BE(4, at + 10);
    answer.writeUInt32BE(address, at + 12);
    at += 16;
  }
  return answer;
}

/** An answer to what is no question. */
export function writeError(id: number, code: number): Buffer {
  const answer = Buffer.alloc(HEADER);
  writeHeader(answer, id, code, false);
  return answer;
}

/** A response, recursion available. */
function writeHeader(answer: Buffer, id: number, code: number, recursion: boolean): void {
  answer.writeUInt16BE(id, 0);
  answer.writeUInt16BE(0x8080 | (recursion ? 0x0100 : 0) | code, 2);
}

/** The address a name for looking up names by address is about. */
export function reverseAddress(name: string): Ipv4 | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/i.exec(name);
  if (match === null) return undefined;
  const [a = 256, b = 256, c = 256, d = 256] = match.slice(1).reverse().map(Number);
  return [a, b, c, d].every((part) => part < 256) ? ((a << 24) | (b << 16) | (c << 8) | d) >>> 0 : undefined;
}
