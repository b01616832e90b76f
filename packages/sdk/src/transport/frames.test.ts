import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { readFrames } from "./frames.ts";

function frame(channel: number, payload: string): Buffer {
  const bytes = Buffer.alloc(5 + payload.length, payload);
  bytes.writeUInt8(channel, 0);
  bytes.writeUInt32BE(payload.length, 1);
  bytes.write(payload, 5);
  return bytes;
}

async function decode(...chunks: Buffer[]): Promise<string[]> {
  const found: string[] = [];
  await readFrames(Readable.from(chunks), ({ channel, payload }) => {
    found.push(`${channel}:${payload}`);
    return undefined;
  });
  return found;
}

const WHOLE = Buffer.concat([
  frame(0, '{"type":"ping"}'),
  frame(1, "out"),
  frame(2, ""),
  frame(1, "x".repeat(300)),
]);
const EXPECTED = ['0:{"type":"ping"}', "1:out", "2:", `1:${"x".repeat(300)}`];

describe("readFrames", () => {
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

  test("what the reader waits for is waited for, and what it throws ends the stream", async () => {
    const source = Readable.from([WHOLE, WHOLE, WHOLE]);
    let reading = 0;
    let frames = 0;
    await readFrames(source, async () => {
      frames += 1;
      reading += 1;
      assert.ok(reading <= EXPECTED.length, "a piece was read while another was being taken");
      await delay(5);
      reading -= 1;
    });
    assert.equal(frames, 3 * EXPECTED.length);

    const refused = Readable.from([WHOLE, WHOLE]);
    await assert.rejects(
      readFrames(refused, () => {
        throw new Error("no more");
      }),
      { message: "no more" },
    );
    assert.equal(refused.destroyed, true);
  });

  test("a connection that breaks is a failure", async () => {
    const source = new Readable({ read() {} });
    const read = readFrames(source, () => undefined);
    source.push(WHOLE);
    setImmediate(() => source.destroy());
    await assert.rejects(read, { code: "CONNECTION_LOST" });
  });
});
