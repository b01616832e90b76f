import assert from "node:assert/strict";
import { test } from "node:test";
import { KilnError } from "../errors.ts";
import { encodeFrame, FrameParser, HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES, SYNC } from "./frame.ts";

const frame = (text: string) => encodeFrame(Kind.data, 5, 9, Buffer.from(text), 1);

test("frames come out whole however the bytes are cut", () => {
  const bytes = Buffer.concat([
    Buffer.from("left over from before"),
    SYNC,
    frame("a"),
    SYNC,
    frame("bc"),
    frame(""),
  ]);
  for (let step = 1; step <= bytes.length; step++) {
    const parser = new FrameParser();
    const payloads: string[] = [];
    for (let at = 0; at < bytes.length; at += step) {
      for (const { payload, stream, generation } of parser.push(bytes.subarray(at, at + step))) {
        assert.deepEqual([stream, generation], [5, 9]);
        payloads.push(payload.toString());
      }
    }
    assert.deepEqual(payloads, ["a", "bc", ""], `cut every ${step} bytes`);
  }
});

test("nothing is believed before a sync", () => {
  assert.deepEqual([...new FrameParser().push(frame("early"))], []);
});

test("a sync split over two chunks is found", () => {
  const parser = new FrameParser();
  assert.deepEqual([...parser.push(Buffer.concat([Buffer.alloc(100, 0xff), SYNC.subarray(0, 7)]))], []);
  assert.equal([...parser.push(Buffer.concat([SYNC.subarray(7), frame("x")]))].length, 1);
});

test("a header that cannot be one is refused", () => {
  const spoil = (change: (bytes: Buffer) => void) => {
    const bytes = frame("x");
    change(bytes);
    return bytes;
  };
  const broken = {
    magic: spoil((bytes) => bytes.writeUInt16LE(0, 10)),
    length: spoil((bytes) => bytes.writeUInt32LE(MAX_PAYLOAD_BYTES + 1, 0)),
    kind: spoil((bytes) => bytes.writeUInt8(0, 8)),
    "kind too high": spoil((bytes) => bytes.writeUInt8(9, 8)),
    flags: spoil((bytes) => bytes.writeUInt8(0x40, 9)),
    "flags on another kind": spoil((bytes) => bytes.writeUInt8(Kind.credit, 8)),
  };
  for (const [what, bytes] of Object.entries(broken)) {
    const parse = () => [...new FrameParser().push(Buffer.concat([SYNC, bytes]))];
    assert.throws(parse, (error) => error instanceof KilnError && error.code === "GUEST_PROTOCOL", what);
  }
});

test("a payload over the limit is refused before it is sent", () => {
  assert.equal(
    encodeFrame(Kind.data, 1, 1, Buffer.alloc(MAX_PAYLOAD_BYTES)).length,
    HEADER_BYTES + MAX_PAYLOAD_BYTES,
  );
  assert.throws(() => encodeFrame(Kind.open, 1, 1, Buffer.alloc(MAX_PAYLOAD_BYTES + 1)), KilnError);
});
