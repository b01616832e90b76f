import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { ConnectionFailure } from "./connection-failure.ts";
import { ExecConnections } from "./exec-connections.ts";
import { encodeFrame, type Frame, FrameDecoder } from "./frames.ts";

const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: kiln-exec\r\n\r\n";
const END = encodeFrame(3, Buffer.alloc(0));
const text = (channel: number, payload: string) => encodeFrame(channel, Buffer.from(payload));

describe("connections for programs", { timeout: 30_000 }, () => {
  let stack: AsyncDisposableStack;
  let connections: ExecConnections;
  /** Requests of each connection. */
  let requests: string[][];
  /** What the daemon does with each request, in order. */
  let script: ((socket: Socket, index: number) => void)[];

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "kiln-sdk-"));
    stack.defer(() => rm(folder, { recursive: true }));
    requests = [];
    script = [];
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      const own: string[] = [];
      requests.push(own);
      const decoder = new FrameDecoder();
      let head: Buffer | undefined = Buffer.alloc(0);
      socket.on("data", (chunk: Buffer) => {
        let bytes = chunk;
        if (head) {
          head = Buffer.concat([head, chunk]);
          const end = head.indexOf("\r\n\r\n");
          if (end < 0) return;
          bytes = head.subarray(end + 4);
          head = undefined;
        }
        for (const { payload } of decoder.push(bytes)) {
          own.push(payload.toString());
          script.shift()?.(socket, own.length);
        }
      });
    }).listen(join(folder, "kiln.sock"));
    await once(server, "listening");
    stack.defer(async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    connections = new ExecConnections(join(folder, "kiln.sock"));
    stack.defer(async () => connections.close());
  });
  afterEach(() => stack.disposeAsync());

  const answer =
    (...frames: Buffer[]) =>
    (socket: Socket, index: number) =>
      void socket.write(Buffer.concat([Buffer.from(index === 1 ? SWITCHED : ""), ...frames]));

  async function run(request: object, signal?: AbortSignal): Promise<string> {
    const found: string[] = [];
    const take = ({ channel, payload }: Frame) => {
      if (channel === 0 && payload.toString() === "bad") throw new Error("bad");
      found.push(`${channel}:${payload}`);
      return undefined;
    };
    await connections.run(request, take, { signal, idleTimeoutMs: 10_000 });
    return found.join(" ");
  }

  test("one after another takes one connection, two at once take two", async () => {
    script = [answer(text(1, "a"), text(0, "x"), END), answer(text(2, "b"), END)];
    assert.equal(await run({ n: 1 }), "1:a 0:x");
    assert.equal(await run({ n: 2 }), "2:b");
    assert.deepEqual(requests, [['{"n":1}', '{"n":2}']]);
    script = [answer(text(1, "c"), END), answer(text(1, "d"), END)];
    assert.deepEqual(await Promise.all([run({ n: 3 }), run({ n: 4 })]), ["1:c", "1:d"]);
    assert.equal(requests.length, 2);
  });

  test("an answer may come in pieces of any size", async () => {
    script = [
      (socket) => {
        const bytes = Buffer.concat([Buffer.from(SWITCHED), text(1, "abc"), END]);
        let at = 0;
        const timer = setInterval(() => {
          socket.write(bytes.subarray(at, at + 1));
          at += 1;
          if (at === bytes.length) clearInterval(timer);
        }, 1);
      },
    ];
    assert.equal(await run({}), "1:abc");
  });

  test("what goes wrong with a program leaves the connection for the next", async () => {
    script = [answer(text(0, "bad"), text(1, "not heard"), END), answer(text(1, "well"), END)];
    await assert.rejects(run({}), { message: "bad" });
    assert.equal(await run({}), "1:well");
    assert.equal(requests.length, 1);
  });

  test("a daemon that refuses is heard", async () => {
    const body = '{"code": "UNAUTHORIZED", "message": "no", "hint": "x"}';
    script = [
      (socket) => {
        socket.write(`HTTP/1.1 401 Error\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 9)}`);
        setTimeout(() => socket.end(body.slice(9)), 20);
      },
    ];
    await assert.rejects(run({}), { code: "UNAUTHORIZED", message: "no", status: 401 });
  });

  test("a cut is told, and whether the daemon may have heard", async () => {
    script = [(socket) => socket.destroy()];
    await assert.rejects(run({}), (error) => error instanceof ConnectionFailure && error.sent);
    const nobody = new ExecConnections("/nowhere/kiln.sock");
    const failed = nobody.run({}, () => undefined, { signal: undefined, idleTimeoutMs: 1000 });
    await assert.rejects(
      failed,
      (error) => error instanceof ConnectionFailure && !error.sent && error.nobodyListens,
    );
  });

  test("an abort closes the connection", async () => {
    const abort = new AbortController();
    const closed = Promise.withResolvers<void>();
    script = [
      (socket) => {
        socket.once("close", () => closed.resolve());
        abort.abort(new Error("enough"));
      },
      answer(END),
    ];
    await assert.rejects(run({}, abort.signal), { message: "enough" });
    await closed.promise;
    assert.equal(await run({}), "");
    assert.equal(requests.length, 2);
  });

  test("one that the daemon closed meanwhile is not used again", async () => {
    script = [
      (socket, index) => {
        answer(END)(socket, index);
        setTimeout(() => socket.end(), 10);
      },
      answer(END),
    ];
    await run({});
    await new Promise((resolve) => setTimeout(resolve, 50));
    await run({});
    assert.equal(requests.length, 2);
  });

  test("a daemon that says nothing is given up", async () => {
    script = [() => undefined];
    const run = connections.run({}, () => undefined, { signal: undefined, idleTimeoutMs: 50 });
    await assert.rejects(run, (error) => error instanceof ConnectionFailure && error.sent);
  });
});
