import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, isIPv6 } from "node:net";

/** How long one of the host's name servers may take, in milliseconds. */
const TIMEOUT_MS = 4_000;
/** Of the host's name servers, this many are tried. */
const MAX_SERVERS = 3;

interface NameServer {
  address: string;
  port: number;
}

/** `1.2.3.4`, `1.2.3.4:5353`, `2001:db8::1` or `[2001:db8::1]:5353`, as Node.js writes them. */
function parseServer(text: string): NameServer {
  const match = /^\[(.*)\](?::(\d+))?$/.exec(text) ?? (isIPv6(text) ? null : /^([^:]*):(\d+)$/.exec(text));
  return match === null
    ? { address: text, port: 53 }
    : { address: match[1] ?? text, port: Number(match[2] ?? 53) };
}

/**
 * Passes a query on to the host's name servers, and their answer back, whatever it is about. Undefined when none answers in time.
 *
 * @param stream whether the answer may be longer than a datagram: it is then asked for by TCP.
 */
export async function forwardQuery(
  query: Buffer,
  stream: boolean,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  for (const server of getServers().slice(0, MAX_SERVERS).map(parseServer)) {
    // Numbers of our own: a guest that knew them could have its answers forged.
    const asked = Buffer.from(query);
    randomBytes(2).copy(asked);
    const until = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const answer = await (stream ? askByStream(asked, server, until) : askByDatagram(asked, server, until));
    if (signal.aborted) return undefined;
    if (answer === undefined) continue;
    query.copy(answer, 0, 0, 2);
    return answer;
  }
  return undefined;
}

const answers = (answer: Buffer, query: Buffer): boolean =>
  answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0) && answer.readUInt8(2) >= 0x80;

function askByDatagram(
  query: Buffer,
  { address, port }: NameServer,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    const settle = (answer: Buffer | undefined) => {
      signal.removeEventListener("abort", give);
      socket.removeAllListeners("message");
      socket.close();
      resolve(answer);
    };
    const give = () => settle(undefined);
    signal.addEventListener("abort", give, { once: true });
    socket.once("error", give);
    // Connected, it hears nobody else.
    socket.connect(port, address, () => socket.send(query));
    socket.on("message", (answer) => {
      if (answers(answer, query)) settle(answer);
    });
  });
}

function askByStream(
  query: Buffer,
  { address, port }: NameServer,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, signal });
    let received = Buffer.alloc(0);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => resolve(undefined));
    socket.on("data", (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const answer = Buffer.from(received.subarray(2, 2 + received.readUInt16BE(0)));
      resolve(answers(answer, query) ? answer : undefined);
      socket.destroy();
    });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    socket.write(Buffer.concat([length, query]));
  });
}
