/** Longest ClientHello that is read, in bytes: several times what browsers with post-quantum keys send. */
const MAX_HELLO = 16 * 1024;
const RECORD_HEADER = 5;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;

/** `more` is to come; `undefined` when it is no ClientHello that can be read; else the name in it, if any. */
export type HelloResult = "more" | undefined | { serverName: string | undefined };

/** Reads what a TLS connection begins with (RFC 8446, 4.1.2; RFC 6066, 3), which may be cut into several records. */
export function readClientHello(bytes: Buffer): HelloResult {
  const message = joinRecords(bytes);
  if (message === undefined) return undefined;
  if (message.length < 4) return "more";
  const length = message.readUIntBE(1, 3);
  if (message[0] !== CLIENT_HELLO || length > MAX_HELLO) return undefined;
  if (message.length < 4 + length) return "more";
  return readHello(new Reader(message.subarray(4, 4 + length)));
}

/** The handshake messages in the records that are there, as far as they are there. */
function joinRecords(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== HANDSHAKE) return undefined;
    if (bytes.length - at < RECORD_HEADER) break;
    if (bytes[at + 1] !== 3) return undefined;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0) return undefined;
    parts.push(bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length));
    at += RECORD_HEADER + length;
    // What follows the hello is none of our business.
    const joined = Buffer.concat(parts);
    if (joined.length >= 4 && joined.length >= 4 + joined.readUIntBE(1, 3)) return joined;
  }
  return Buffer.concat(parts);
}

function readHello(hello: Reader): HelloResult {
  hello.skip(2 + 32);
  hello.block(1);
  hello.block(2);
  hello.block(1);
  if (hello.broken) return undefined;
  if (hello.empty) return { serverName: undefined };
  const extensions = hello.block(2);
  if (hello.broken) return undefined;
  let serverName: string | undefined;
  while (!extensions.empty && !extensions.broken) {
    const type = extensions.number(2);
    const content = extensions.block(2);
    if (type !== SERVER_NAME) continue;
    // Two would let the server choose.
    if (serverName !== undefined) return undefined;
    const names = content.block(2);
    const kind = names.number(1);
    const name = names.block(2);
    if (names.broken || content.broken || kind !== 0 || !names.empty) return undefined;
    serverName = name.rest.toString("latin1");
  }
  return extensions.broken ? undefined : { serverName };
}

/** Reads numbers and blocks with a length before them; once it has been asked for more than there is, it is broken. */
class Reader {
  broken = false;
  #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get empty(): boolean {
    return this.#bytes.length === 0;
  }

  get rest(): Buffer {
    return this.#bytes;
  }

  skip(count: number): void {
    if (count > this.#bytes.length) this.broken = true;
    this.#bytes = this.#bytes.subarray(count);
  }

  number(size: 1 | 2): number {
    const value = this.#bytes.length < size ? 0 : this.#bytes.readUIntBE(0, size);
    this.skip(size);
    return value;
  }

  /** A block whose length is written in `size` bytes. */
  block(size: 1 | 2): Reader {
    const length = this.number(size);
    const block = new Reader(this.#bytes.subarray(0, length));
    this.skip(length);
    block.broken = this.broken;
    return block;
  }
}
