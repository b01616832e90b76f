import assert from "node:assert/strict";
import { test } from "node:test";
import { TestWire } from "../../../../test/support/wire.ts";
import { KilnError } from "../errors.ts";
import { GuestConnection, HOST_WINDOW_BYTES } from "./connection.ts";
import { encodeFrame, FLAG_END, type Frame, FrameParser, Kind, SYNC } from "./frame.ts";
import { Ready, Reply, type Request } from "./gen/kiln/agent/v1/agent.ts";

const PING: Request = { kind: { $case: "ping", value: {} } };
const WINDOW = 1_000;

function ready(generation: number, version = 1, window = WINDOW): Buffer {
  const payload = Ready.encode(Ready.fromPartial({ version, window, agentVersion: "test" })).finish();
  return Buffer.concat([SYNC, encodeFrame(Kind.ready, 0, generation, payload)]);
}

const done = (stream: number, generation: number) =>
  encodeFrame(
    Kind.close,
    stream,
    generation,
    Reply.encode({ kind: { $case: "done", value: { size: 0n } } }).finish(),
  );

function framesOf(wire: TestWire): Frame[] {
  const bytes = Buffer.concat(wire.sent);
  wire.sent = [];
  const parser = new FrameParser();
  return [...parser.push(bytes.indexOf(SYNC) === 0 ? bytes : Buffer.concat([SYNC, bytes]))];
}

async function connected(generation = 3): Promise<{ wire: TestWire; connection: GuestConnection }> {
  const wire = new TestWire();
  const connection = new GuestConnection(wire);
  const handshake = connection.handshake({ generation, timeoutMs: 5_000 });
  wire.receive(ready(generation));
  await handshake;
  framesOf(wire);
  return { wire, connection };
}

const tick = () => new Promise(setImmediate);
const isProtocolError = (error: unknown) => error instanceof KilnError && error.code === "GUEST_PROTOCOL";

test("what an earlier life of the guest left in the line is dropped", async () => {
  const wire = new TestWire();
  const connection = new GuestConnection(wire);
  const handshake = connection.handshake({ generation: 5, timeoutMs: 5_000 });
  const ping = connection.open(PING); // Not waiting for READY.
  wire.receive(Buffer.concat([done(1, 4).subarray(3), ready(4), ready(5), done(1, 4), done(1, 5)]));
  assert.equal((await handshake).agentVersion, "test");
  assert.equal((await ping.reply).kind?.$case, "done");
});

test("a guest of another version is refused", async () => {
  const wire = new TestWire();
  const handshake = new GuestConnection(wire).handshake({ generation: 5, timeoutMs: 5_000 });
  wire.receive(ready(5, 2));
  await assert.rejects(handshake, isProtocolError);
});

test("a guest that does not answer is given up in time", async () => {
  const handshake = new GuestConnection(new TestWire()).handshake({ generation: 5, timeoutMs: 20 });
  await assert.rejects(handshake, (error) => error instanceof KilnError && error.code === "TIMEOUT");
});

test("no more input is sent than the guest has granted", async () => {
  const { wire, connection } = await connected();
  const stream = connection.open(PING);
  const written = stream.write(Buffer.alloc(WINDOW + 10));
  await tick();
  const bytes = (frames: Frame[]) =>
    frames.filter((f) => f.kind === Kind.data).reduce((sum, f) => sum + f.payload.length, 0);
  assert.equal(bytes(framesOf(wire)), WINDOW);
  const credit = Buffer.alloc(4);
  credit.writeUInt32LE(10);
  wire.receive(encodeFrame(Kind.credit, 1, 3, credit));
  await written;
  assert.equal(bytes(framesOf(wire)), 10);
});

test("output nobody reads earns no credit, and more than was granted ends the connection", async () => {
  const { wire, connection } = await connected();
  const stream = connection.open(PING);
  const piece = encodeFrame(Kind.data, 1, 3, Buffer.alloc(HOST_WINDOW_BYTES / 8), 1);
  for (let count = 0; count < 8; count++) wire.receive(piece);
  await tick();
  assert.deepEqual(
    framesOf(wire).filter((frame) => frame.kind === Kind.credit),
    [],
  );
  wire.receive(encodeFrame(Kind.data, 1, 3, Buffer.from("x"), 1));
  await assert.rejects(stream.reply, isProtocolError);
  await assert.rejects(async () => connection.open(PING), isProtocolError);
});

test("output that was read is credited in steps", async () => {
  const { wire, connection } = await connected();
  const stream = connection.open(PING);
  const size = HOST_WINDOW_BYTES / 4;
  wire.receive(encodeFrame(Kind.data, 1, 3, Buffer.alloc(size), 1));
  wire.receive(encodeFrame(Kind.data, 1, 3, Buffer.alloc(0), 1 | FLAG_END));
  let total = 0;
  for await (const chunk of stream.output) total += chunk.length;
  assert.equal(total, size);
  const credits = framesOf(wire).filter((frame) => frame.kind === Kind.credit);
  assert.deepEqual(
    credits.map((frame) => frame.payload.readUInt32LE(0)),
    [size],
  );
});

test("data after its end, data on a channel there is not, and frames only a host sends end the connection", async () => {
  const broken = [
    [
      encodeFrame(Kind.data, 1, 3, Buffer.alloc(0), 1 | FLAG_END),
      encodeFrame(Kind.data, 1, 3, Buffer.from("x"), 1),
    ],
    [encodeFrame(Kind.data, 1, 3, Buffer.from("x"), 0)],
    [encodeFrame(Kind.open, 1, 3)],
    [encodeFrame(Kind.credit, 1, 3, Buffer.alloc(3))],
    [encodeFrame(Kind.credit, 1, 3, Buffer.alloc(4, 0xff))],
    [encodeFrame(Kind.close, 1, 3, Buffer.from([0xff, 0xff]))],
  ];
  for (const frames of broken) {
    const { wire, connection } = await connected();
    const stream = connection.open(PING);
    wire.receive(Buffer.concat(frames));
    await assert.rejects(stream.reply, isProtocolError);
  }
});

test("a new generation ends the streams of the old one", async () => {
  const { wire, connection } = await connected(3);
  const old = connection.open(PING);
  const handshake = connection.handshake({ generation: 4, timeoutMs: 5_000 });
  await assert.rejects(old.reply, KilnError);
  wire.receive(Buffer.concat([done(1, 3), ready(4)]));
  await handshake;
  const next = connection.open(PING);
  wire.receive(done(2, 4));
  assert.equal((await next.reply).kind?.$case, "done");
});
