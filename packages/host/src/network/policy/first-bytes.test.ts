import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { connect } from "node:tls";
import { readClientHello } from "./client-hello.ts";
import { FirstBytes } from "./first-bytes.ts";
import { readRequest } from "./http-request.ts";
import { Rules } from "./rules.ts";

/** What OpenSSL says first to a server of that name. */
async function clientHello(servername: string | undefined): Promise<Buffer> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const client = connect({ port, host: "127.0.0.1", ...(servername === undefined ? {} : { servername }) });
  client.on("error", () => undefined);
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}

/** The same handshake in records of `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    parts.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(parts);
}

const push = (bytes: Buffer, { port = 443, names = ["a.test"], allow = ["a.test"] } = {}) =>
  new FirstBytes(new Rules({ allow }), port, names).push(bytes);

test("the server's name is found in a ClientHello, however it is cut", async () => {
  const hello = await clientHello("www.a.test");
  assert.deepEqual(readClientHello(hello), { serverName: "www.a.test" });
  assert.deepEqual(readClientHello(inRecords(hello, 1)), { serverName: "www.a.test" });
  assert.deepEqual(readClientHello(inRecords(hello, 50)), { serverName: "www.a.test" });
  assert.deepEqual(readClientHello(Buffer.concat([hello, Buffer.from("more")])), {
    serverName: "www.a.test",
  });
  for (let length = 1; length < hello.length; length++)
    assert.equal(readClientHello(hello.subarray(0, length)), "more", `${length} bytes`);
  assert.deepEqual(readClientHello(await clientHello(undefined)), { serverName: undefined });
});

test("a ClientHello that is damaged is not guessed at", async () => {
  const hello = await clientHello("www.a.test");
  for (let at = 0; at < hello.length; at++) {
    for (const value of [0, 1, 127, 255]) {
      const damaged = Buffer.from(hello);
      damaged[at] = value;
      const result = readClientHello(damaged);
      // Damage elsewhere leaves the name; there is no other name in it.
      if (typeof result === "object" && result.serverName !== undefined)
        assert.match(result.serverName, /^[\s\S]{10}$/);
    }
  }
  assert.equal(readClientHello(Buffer.from("1603010000", "hex")), undefined, "an empty record");
  assert.equal(readClientHello(Buffer.from("160301000402000000", "hex")), undefined, "a ServerHello");
  assert.equal(readClientHello(Buffer.from("160301000401ffffff", "hex")), undefined, "too long");
});

test("TLS passes to names on the list only", async () => {
  assert.equal(push(await clientHello("a.test")), "pass");
  assert.deepEqual(push(await clientHello("b.test")), { refused: 'it names "b.test" in TLS' });
  assert.deepEqual(push(await clientHello(undefined)), { refused: "it names no host in TLS" });
  const other = await clientHello("b.test");
  assert.deepEqual(push(other, { port: 9443 }), { refused: 'it names "b.test" in TLS' });
  assert.equal(push(other.subarray(0, 40)), "hold");
});

const HOSTS: [string, unknown][] = [
  ["GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", { host: "a.test" }],
  ["GET / HTTP/1.1\nhost:a.test:80\n\n", { host: "a.test" }],
  ["\r\n\r\nget /x HTTP/1.0\r\nX: y\r\nHOST: \t a.test \t\r\n\r\nbody", { host: "a.test" }],
  ["GET / HTTP/1.1\r\nX: y\r\n\r\nHost: a.test\r\n\r\n", { host: undefined }],
  ["GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", { host: undefined }],
  ["GET / HTTP/1.1\r\nHost: a.test\r\n x: b.test\r\n\r\n", { host: undefined }],
  ["GET / HTTP/1.1\r\nHost: a.test\r\nHost : b.test\r\n\r\n", { host: undefined }],
  ["GET / HTTP/1.1\r\nHost: a.test\rHost: b.test\r\n\r\n", { host: undefined }],
  ["GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", { host: undefined }],
  ["GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", { host: "a.test" }],
  ["CONNECT b.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", { host: undefined }],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", { host: undefined }],
  ["GET / HTTP/1.1\r\nHost: a.te", "more"],
  ["GET / HT", "more"],
  ["GE", "more"],
  ["", "more"],
  ["SSH-2.0-OpenSSH_9\r\n", "other"],
  ["EHLO me\r\n", "other"],
  ["*1\r\n$4\r\nPING\r\n", "other"],
  ["\0\0\0\x08\x04\xd2\x16\x2f", "other"],
  ["hello", "more"],
];

test("the host of a request is the one a server would take, or none", () => {
  for (const [request, expected] of HOSTS)
    assert.deepEqual(readRequest(Buffer.from(request)), expected, request);
});

test("HTTP passes to names on the list only, but at a port that was named", () => {
  const request = (host: string) => Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  assert.equal(push(request("a.test"), { port: 80 }), "pass");
  assert.deepEqual(push(request("b.test"), { port: 80 }), { refused: 'it names "b.test" in HTTP' });
  assert.deepEqual(push(request("b.test"), { port: 80, allow: ["a.test:80"] }), {
    refused: 'it names "b.test" in HTTP',
  });
  assert.equal(push(request("b.test"), { port: 3128, allow: ["a.test:3128"] }), "pass");
  assert.deepEqual(push(request("b.test"), { port: 3128 }), { refused: 'it names "b.test" in HTTP' });
});

test("who says little waits for nothing, and who never says it is refused", () => {
  const first = new FirstBytes(new Rules({ allow: ["a.test"] }), 80, ["a.test"]);
  assert.equal(first.push(Buffer.from("GET / HTTP/1.1\r\n")), "watch");
  assert.equal(first.push(Buffer.from("X: 1\r\n")), "watch");
  assert.deepEqual(first.push(Buffer.from("Host: b.test\r\n\r\n")), { refused: 'it names "b.test" in HTTP' });
  const endless = new FirstBytes(new Rules({ allow: ["a.test"] }), 80, ["a.test"]);
  assert.equal(endless.push(Buffer.from("GET / HTTP/1.1\r\n")), "watch");
  assert.deepEqual(endless.push(Buffer.alloc(30_000, "a")), {
    refused: "it does not say where it wants to go",
  });
  const drops = new FirstBytes(new Rules({ allow: ["a.test"] }), 80, ["a.test"]);
  const verdicts = Array.from({ length: 300 }, () => drops.push(Buffer.from("a")));
  assert.equal(verdicts[10], "watch");
  assert.ok(verdicts.some((verdict) => typeof verdict === "object" || verdict === "pass"));
});
