import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeLz4Legacy, LZ4_LEGACY_MAGIC } from "./lz4.ts";

/** One file of blocks as `lz4 -l` writes them. */
function legacy(...blocks: number[][]): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32LE(LZ4_LEGACY_MAGIC);
  const parts = blocks.map((block) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(block.length);
    return Buffer.concat([length, Buffer.from(block)]);
  });
  return Buffer.concat([header, ...parts]);
}

const bytes = (text: string): number[] => [...Buffer.from(text)];
const decode = (...blocks: number[][]): string => decodeLz4Legacy(legacy(...blocks)).toString();

describe("LZ4's legacy format", () => {
  test("literals alone, as the last sequence has them", () => {
    assert.equal(decode([0x50, ...bytes("hello")]), "hello");
    assert.equal(decode([0xf0, 0, ...bytes("fifteen letters")]), "fifteen letters");
    const long = "x".repeat(15 + 255 + 7);
    assert.equal(decode([0xf0, 255, 7, ...bytes(long)]), long);
  });

  test("matches, near ones repeating themselves", () => {
    assert.equal(decode([0x40, ...bytes("abcd"), 4, 0, 0x10, ...bytes("!")]), "abcdabcd!");
    assert.equal(decode([0x10, ...bytes("a"), 1, 0, 0x10, ...bytes("!")]), "aaaaa!");
    assert.equal(decode([0x1f, ...bytes("a"), 1, 0, 3, 0x10, ...bytes("!")]), `a${"a".repeat(22)}!`);
  });

  test("blocks on their own, one behind the other", () => {
    assert.equal(decode([0x20, ...bytes("ab")], [0x20, ...bytes("cd")]), "abcd");
  });

  test("damage is refused", () => {
    for (const [what, block] of [
      ["literals beyond the end", [0x50, ...bytes("hell")]],
      ["a match before the beginning", [0x10, ...bytes("a"), 2, 0, 0x10, 0]],
      ["a match at no distance", [0x10, ...bytes("a"), 0, 0, 0x10, 0]],
      ["a distance cut off", [0x10, ...bytes("a"), 1]],
      ["a length cut off", [0xf0, 255]],
    ] as const) {
      assert.throws(() => decode([...block]), RangeError, what);
    }
    assert.throws(() => decodeLz4Legacy(legacy([0x50, ...bytes("hello")]).subarray(0, -1)), RangeError);
  });
});
