import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeLines } from "./lines.ts";

async function decode(...chunks: Buffer[]): Promise<unknown[]> {
  const source = (async function* () {
    yield* chunks;
  })();
  const found: unknown[] = [];
  for await (const value of decodeLines(source)) found.push(value);
  return found;
}

describe("decodeLines", () => {
  test("finds the same values wherever the stream is split, within a character too", async () => {
    const whole = Buffer.from('{"a":"grüß 😀"}\n\n[1,2]\n"end"\n');
    const expected = [{ a: "grüß 😀" }, [1, 2], "end"];
    for (let at = 0; at <= whole.length; at++) {
      assert.deepEqual(await decode(whole.subarray(0, at), whole.subarray(at)), expected, `split at ${at}`);
    }
  });

  test("a last line that was cut off is no value", async () => {
    assert.deepEqual(await decode(Buffer.from('{"a":1}\n{"b":')), [{ a: 1 }]);
  });

  test("what is not JSON, and a line without an end, are refused", async () => {
    await assert.rejects(decode(Buffer.from("<html>\n")), { code: "INTERNAL" });
    const megabyte = Buffer.alloc(1024 * 1024, 0x20);
    await assert.rejects(decode(...Array.from({ length: 5 }, () => megabyte)), { code: "INTERNAL" });
  });
});
