/** The connection over which programs are run, as a client that is not Kiln's own may use it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import type { Sandbox } from "@kiln/sdk";
import { encodeFrame, type Frame, FrameDecoder } from "@kiln/sdk/transport/frames.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";

const MIB = 1024 * 1024;
const END = 3;

function upgrade(path = "/v1/exec", protocol = "kiln-exec", host = "kiln"): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
}

describe("a connection for programs", { timeout: 300_000 }, () => {
  let daemon: DaemonHome;
  let sandbox: Sandbox;

  before(async () => {
    daemon = await openDaemonHome();
    await daemon.client.build("python");
    sandbox = await daemon.client.sandbox({ image: "python", network: "none" });
  });
  after(() => daemon[Symbol.asyncDispose]());

  async function open(head = upgrade()): Promise<{ socket: Socket; answer: string }> {
    const socket = connect(`${daemon.home}/kiln.sock`);
    socket.on("error", () => undefined);
    socket.write(head);
    const [bytes] = await once(socket, "data");
    return { socket, answer: String(bytes) };
  }

  const request = (content: object) => encodeFrame(0, Buffer.from(JSON.stringify(content)));

  /** Frames up to the end of an answer; undefined when the connection ends before that. */
  function answer(socket: Socket): Promise<Frame[] | undefined> {
    const decoder = new FrameDecoder();
    const frames: Frame[] = [];
    return new Promise((resolve) => {
      const take = (chunk: Buffer) => {
        frames.push(...decoder.push(chunk));
        if (frames.at(-1)?.channel !== END) return;
        socket.off("data", take);
        resolve(frames);
      };
      socket.on("data", take);
      socket.once("close", () => resolve(undefined));
    });
  }

  async function ask(socket: Socket, bytes: Buffer): Promise<{ events: unknown[]; stdout: string }> {
    const answered = answer(socket);
    socket.write(bytes);
    const frames = await answered;
    assert.ok(frames, "the connection was closed");
    const of = (wanted: number) =>
      frames.filter(({ channel }) => channel === wanted).map(({ payload }) => String(payload));
    return { events: of(0).map((text) => JSON.parse(text)), stdout: of(1).join("") };
  }

  test("runs one program after another, with what each is given", async () => {
    const { socket, answer: head } = await open();
    assert.match(head, /^HTTP\/1\.1 101 /);
    const echo = { sandbox: sandbox.id, argv: ["sh", "-c", 'echo "$A $PWD"'], env: { A: "b" }, cwd: "/tmp" };
    for (let round = 0; round < 3; round++) {
      const { events, stdout } = await ask(socket, request(echo));
      assert.equal(stdout, "b /tmp\n");
      const [started, exit] = events as { type: string; process: { id: string; exit_code?: number } }[];
      assert.deepEqual([started?.type, exit?.type], ["started", "exit"]);
      assert.equal(exit?.process.exit_code, 0);
      assert.equal(exit?.process.id, started?.process.id);
    }
    const piece = request({ ...echo, argv: ["echo", "in pieces"] });
    const answered = answer(socket);
    for (const byte of piece) {
      socket.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    assert.ok((await answered)?.some(({ payload }) => String(payload) === "in pieces\n"));
    socket.destroy();
  });

  test("says which field is wrong, and goes on", async () => {
    const { socket } = await open();
    const wrong: [object, string, RegExp][] = [
      [{ sandbox: sandbox.id, argv: [] }, "USAGE", /request\.argv/],
      [{ argv: ["true"] }, "USAGE", /request\.sandbox/],
      [{ sandbox: sandbox.id, argv: ["true"], nothing: 1 }, "USAGE", /nothing/],
      [{ sandbox: sandbox.id, argv: ["a\0b"] }, "USAGE", /request\.argv\.0/],
      [{ sandbox: "zzzzzzzzzzz", argv: ["true"] }, "SANDBOX_NOT_FOUND", /zzzzzzzzzzz/],
      [{ sandbox: sandbox.id, argv: ["/no/such/program"] }, "GUEST_ERROR", /no\/such\/program/],
    ];
    for (const [content, code, message] of wrong) {
      const { events } = await ask(socket, request(content));
      const [event] = events as { type: string; error: { code: string; message: string } }[];
      assert.deepEqual([events.length, event?.type, event?.error.code], [1, "error", code]);
      assert.match(event?.error.message ?? "", message);
    }
    const { events } = await ask(socket, encodeFrame(0, Buffer.from("{")));
    assert.equal((events[0] as { error: { code: string } }).error.code, "USAGE");
    assert.equal((await ask(socket, request({ sandbox: sandbox.id, argv: ["echo", "on"] }))).stdout, "on\n");
    socket.destroy();
  });

  test("ends with what is no request", async () => {
    const long = Buffer.alloc(5);
    long.writeUInt32BE(MIB + 1, 1);
    const echo = request({ sandbox: sandbox.id, argv: ["echo", "hi"] });
    const sleep = request({ sandbox: sandbox.id, argv: ["sleep", "1000"] });
    const attempts = [
      long,
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      encodeFrame(1, Buffer.from("x")),
      Buffer.concat([echo, echo]),
      Buffer.concat([sleep, Buffer.of(0)]),
    ];
    for (const bytes of attempts) {
      const { socket } = await open();
      const closed = once(socket, "close");
      socket.write(bytes);
      await closed;
    }
    // What comes while a program runs ends the connection, and with it the program.
    const { socket } = await open();
    const closed = once(socket, "close");
    socket.write(sleep);
    await once(socket, "data");
    socket.write(echo);
    await closed;
    for (;;) {
      const processes = await sandbox.processes();
      if (processes.every(({ state }) => state === "exited")) break;
    }
    await daemon.client.health();
  });

  test("is no way past what else can be upgraded to", async () => {
    const refused: [string, RegExp][] = [
      [upgrade("/v1/exec", "websocket"), /^HTTP\/1\.1 400 .*kiln-exec/s],
      [upgrade("/v1/other"), /^HTTP\/1\.1 404 /],
      // The path of a port that is reached by its host name is the port's own.
      [upgrade("/v1/exec", "kiln-exec", `9-${sandbox.id}.localhost`), /^HTTP\/1\.1 502 .*PORT_UNREACHABLE/s],
    ];
    for (const [head, answered] of refused) {
      const { socket, answer: text } = await open(head);
      assert.match(text, answered);
      socket.destroy();
    }
  });
});
