import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeFrames } from "./frames.ts";

function frame(channel: number, payload: string): Buffer {
  const bytes = Buffer.alloc(5 + payload.length, payload);
  bytes.writeUInt8(channel, 0);
  bytes.writeUInt32BE(payload.length, 1);
  bytes.write(payload, 5);
  return bytes;
}

async function decode(...chunks: Buffer[]): Promise<string[]> {
  const source = (async function* () {
    yield* chunks;
  })();
  const found: string[] = [];
  for await (const { channel, payload } of decodeFrames(source)) found.push(`${channel}:${payload}`);
  return found;
}

const WHOLE = Buffer.concat([
  frame(0, '{"type":"ping"}'),
  frame(1, "out"),
  frame(2, ""),
  frame(1, "x".repeat(300)),
]);
const EXPECTED = ['0:{"type":"ping"}', "1:out", "2:", `1:${"x".repeat(300)}`];

describe("decodeFrames", () => {
  test("finds the same frames wherever the stream is split", async () => {
    assert.deepEqual(await decode(WHOLE), EXPECTED);
    for (let at = 1; at < WHOLE.length; at++) {
      assert.deepEqual(await decode(WHOLE.subarray(0, at), WHOLE.subarray(at)), EXPECTED, `split at ${at}`);
    }
    assert.deepEqual(await decode(...[...WHOLE].map((byte) => Buffer.of(byte))), EXPECTED);
  });

  test("an end within a frame is a cut", async () => {
    for (const length of [1, 4, 5, WHOLE.length - 1]) {
      await assert.rejects(decode(WHOLE.subarray(0, length)), { code: "CONNECTION_LOST" }, `${length} bytes`);
    }
  });

  test("a frame longer than any daemon sends is refused before it is kept", async () => {
    await assert.rejects(decode(Buffer.of(1, 0xff, 0xff, 0xff, 0xff)), { code: "INTERNAL" });
  });
});
