import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { describe, describeFrame, MESSAGES, VECTORS, vectors } from "../../../../proto/make-vectors.ts";
import { KilnError } from "../errors.ts";
import { encodeFrame, type Frame, FrameParser, Kind, SYNC } from "./frame.ts";

interface Vector {
  section: string;
  name: string;
  type: string;
  says: string;
  bytes: Buffer;
}

const file = await readFile(VECTORS, "utf8");
const all = file.split("\n\n").slice(1).map(parse);

function parse(text: string): Vector {
  const [what, says, hex] = text.trim().split("\n");
  assert.ok(what !== undefined && says !== undefined && hex !== undefined, text);
  const [section, name, type] = what.split(" ");
  assert.ok(section !== undefined && name !== undefined, what);
  const pieces = hex === "-" ? [] : hex.split(" ");
  const bytes = pieces.map((piece) => {
    const [count, byte] = piece.split("*");
    return byte === undefined
      ? Buffer.from(piece, "hex")
      : Buffer.alloc(Number(count), Number.parseInt(byte, 16));
  });
  return { section, name, type: type ?? "", says, bytes: Buffer.concat(bytes) };
}

function of(...sections: string[]): Vector[] {
  const chosen = all.filter(({ section }) => sections.includes(section));
  assert.ok(chosen.length > 0);
  return chosen;
}

function codec(type: string) {
  const found = Object.entries(MESSAGES).find(([name]) => name === type);
  assert.ok(found, type);
  return found[1] as { decode(bytes: Uint8Array): object; encode(value: object): { finish(): Uint8Array } };
}

function kindOf(name: string): Kind {
  const found = Object.entries(Kind).find(([key]) => key === name);
  assert.ok(found, name);
  return found[1];
}

const framesIn = (bytes: Buffer): Frame[] => [...new FrameParser().push(bytes)];

test("the file is what the program writes", () => {
  assert.equal(file, vectors(), "run: node proto/make-vectors.ts");
  const names = all
    .filter(({ section }) => section !== "transcript")
    .map(({ section, name }) => `${section} ${name}`);
  assert.equal(new Set(names).size, names.length, "every vector has a name of its own");
});

test("messages read as what they say and are written as they were", () => {
  for (const { name, type, says, bytes } of of("message")) {
    const value = codec(type).decode(bytes);
    assert.equal(describe(value) || "nothing", says, name);
    assert.deepEqual(Buffer.from(codec(type).encode(value).finish()), bytes, name);
  }
});

test("messages of a later version are read without what is unknown", () => {
  for (const { name, type, says, bytes } of of("later")) {
    assert.equal(describe(codec(type).decode(bytes)) || "nothing", says, name);
  }
});

test("malformed messages from the guest are refused", () => {
  const fromGuest = of("malformed").filter(({ type }) =>
    ["Ready", "Reply", "Note", "FileInfo"].includes(type),
  );
  assert.ok(fromGuest.length > 0);
  for (const { name, type, bytes } of fromGuest) {
    assert.throws(() => codec(type).decode(bytes), name);
  }
});

test("frames read as what they say and are written as they were", () => {
  for (const { name, type, says, bytes } of of("frame")) {
    const [frame, ...more] = framesIn(Buffer.concat([SYNC, bytes]));
    assert.ok(frame !== undefined && more.length === 0, name);
    assert.equal(frame.kind, kindOf(type), name);
    assert.equal(describeFrame(frame.stream, frame.generation, frame.flags, frame.payload), says);
    assert.deepEqual(
      encodeFrame(frame.kind, frame.stream, frame.generation, frame.payload, frame.flags),
      bytes,
      name,
    );
  }
});

test("headers that cannot be one are refused", () => {
  for (const { name, type, bytes } of of("broken")) {
    const word = { magic: "magic", length: "bytes of payload", kind: "kind", flags: "flags" }[type];
    assert.ok(word !== undefined, name);
    assert.throws(
      () => framesIn(Buffer.concat([SYNC, bytes])),
      (error) =>
        error instanceof KilnError && error.code === "GUEST_PROTOCOL" && error.message.includes(word),
      name,
    );
  }
});

test("frames are found in what may come before them", () => {
  const whole = new Map(of("frame").map(({ name, bytes }) => [name, bytes]));
  for (const { name, says, bytes } of of("stream")) {
    const found = framesIn(bytes).map((frame) =>
      encodeFrame(frame.kind, frame.stream, frame.generation, frame.payload, frame.flags),
    );
    const expected = says.split(" ").map((frame) => whole.get(frame));
    assert.deepEqual(found, expected, name);
  }
});

test("a guest's side of the transcript is a handshake and an exec", () => {
  const guest = of("transcript").filter(({ type }) => type === "guest");
  const frames = framesIn(Buffer.concat(guest.map(({ bytes }) => bytes)));
  assert.deepEqual(
    frames.map(({ kind, stream, generation, flags }) => [kind, stream, generation, flags]),
    [
      [Kind.ready, 0, 41, 0],
      [Kind.data, 1, 41, 1],
      [Kind.data, 1, 41, 0x81],
      [Kind.data, 1, 41, 0x82],
      [Kind.close, 1, 41, 0],
    ],
  );
  const [ready, data, , , close] = frames;
  assert.ok(ready && data && close);
  assert.equal(MESSAGES.Ready.decode(ready.payload).window, 262_144);
  assert.equal(data.payload.toString(), "hi\n");
  const { kind } = MESSAGES.Reply.decode(close.payload);
  assert.deepEqual(kind, {
    $case: "exited",
    value: { status: { $case: "code", value: 0 }, timedOut: false },
  });
});
