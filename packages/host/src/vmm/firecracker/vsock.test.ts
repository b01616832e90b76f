import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { connectAgent } from "./vsock.ts";

describe("the way to the agent through a vsock device", { timeout: 10_000 }, () => {
  let folder: string;
  let path: string;
  const open: AsyncDisposable[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-vsock-"));
    path = join(folder, "vsock");
  });
  afterEach(async () => {
    for (const server of open.splice(0)) await server[Symbol.asyncDispose]();
  });
  after(() => rm(folder, { recursive: true }));

  /** Speaks Firecracker's side: `answer` is told of each connection and what it begins with. */
  async function device(answer: (socket: Socket, asked: string, times: number) => void): Promise<void> {
    let times = 0;
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("data", (asked) => answer(socket, asked.toString(), ++times));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    open.push({
      [Symbol.asyncDispose]: () => {
        for (const socket of sockets) socket.destroy();
        return new Promise((resolve) => server.close(() => resolve()));
      },
    });
  }

  const until = () => AbortSignal.timeout(5_000);

  test("tries until the guest accepts, and loses nothing that comes with the answer", async () => {
    const asked: string[] = [];
    await device((socket, line, times) => {
      asked.push(line);
      if (times < 3) socket.destroy();
      else {
        socket.write("OK 10");
        setImmediate(() => socket.write("73741824\nfirst bytes"));
      }
    });
    const socket = await connectAgent(path, until());
    const [first] = await once(socket, "data");
    assert.deepEqual([String(first), asked], ["first bytes", Array(3).fill("CONNECT 1024\n")]);
    socket.destroy();
  });

  test("an attempt that is never answered is made again", async () => {
    const sockets: Socket[] = [];
    const ended: Promise<unknown>[] = [];
    await device((socket, _, times) => {
      sockets.push(socket);
      ended.push(once(socket, "close"));
      if (times === 2) socket.write("OK 1\n");
    });
    const socket = await connectAgent(path, until(), 100);
    socket.write("hello");
    const [heard] = await once(sockets[1] as Socket, "data");
    assert.equal(String(heard), "hello");
    await ended[0];
    socket.destroy();
  });

  test("what is no answer is refused", async () => {
    for (const answer of ["HTTP/1.1 400\r\n", "OK\n", "OK 12345678901234567890"]) {
      await device((socket) => socket.write(answer));
      await assert.rejects(connectAgent(path, until()), { code: "VM_FAILED" }, answer);
      await open.pop()?.[Symbol.asyncDispose]();
    }
  });

  test("waiting ends with its signal", async () => {
    await device(() => undefined);
    const stop = new AbortController();
    const waiting = connectAgent(path, stop.signal);
    setImmediate(() => stop.abort(new Error("enough")));
    await assert.rejects(waiting, /enough/);
  });
});
