/**
 * The servers a guest may or may not reach: `node world.ts`, run in a network namespace. Says "ready" when they listen.
 *
 * - TCP 80: HTTP; `/big?bytes=N` is N bytes, anything else says which host was asked for
 * - TCP 7 and 443: sends back what it gets, and ends after the other side has
 * - TCP 9: takes nothing until 2 seconds have passed, then tells how many bytes there were
 * - TCP 13: sends one megabyte, and reads nothing
 * - UDP 7: sends back what it gets
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { Readable } from "node:stream";

const STALL_MS = 2_000;

function* pattern(bytes: number): Generator<Buffer> {
  const block = Buffer.alloc(64 * 1024, "0123456789abcdef");
  for (let left = bytes; left > 0; left -= block.length)
    yield block.subarray(0, Math.min(left, block.length));
}

const http = createHttpServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://world");
  if (url.pathname !== "/big") {
    response.end(`host ${request.headers.host}\n`);
    return;
  }
  const bytes = Number(url.searchParams.get("bytes"));
  response.setHeader("content-length", bytes);
  Readable.from(pattern(bytes), { objectMode: false }).pipe(response);
});

const tcp = (serve: (socket: Socket) => void): Server =>
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    serve(socket);
  });

const echo = (socket: Socket) => socket.pipe(socket);

const stalled = tcp((socket) => {
  socket.pause();
  setTimeout(() => {
    let bytes = 0;
    socket.on("data", (chunk) => {
      bytes += chunk.length;
    });
    socket.resume();
    socket.once("end", () => socket.end(`${bytes}\n`));
  }, STALL_MS);
});
const deaf = tcp((socket) => {
  socket.end(Buffer.alloc(1024 * 1024, "x"));
});

const servers = [
  [http, 80],
  [tcp(echo), 7],
  [tcp(echo), 443],
  [stalled, 9],
  [deaf, 13],
] as const;
for (const [server, port] of servers)
  await once(server.listen({ port, host: "0.0.0.0", backlog: 1024 }), "listening");
const udp = createSocket("udp4");
udp.on("message", (message, { port, address }) => udp.send(message, port, address));
udp.bind(7, "0.0.0.0");
await once(udp, "listening");
process.stdout.write("ready\n");
