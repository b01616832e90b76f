import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { splitLines } from "./split-lines.ts";

async function linesOf(chunks: (string | Buffer)[]): Promise<string[]> {
  const lines: string[] = [];
  await splitLines(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), (line) => lines.push(line));
  return lines;
}

test("lines end at newlines and carriage returns, wherever the chunks are cut", async () => {
  assert.deepEqual(await linesOf(["a\nb", "c\r", "\nd\re\n", "\nend"]), ["a", "bc", "d", "e", "", "end"]);
  const euro = Buffer.from("€\n");
  assert.deepEqual(await linesOf([euro.subarray(0, 1), euro.subarray(1)]), ["€"]);
});

test("output without an end of line is cut, not gathered", async () => {
  const lines = await linesOf(Array.from({ length: 64 }, () => "x".repeat(10_000)));
  assert(lines.length > 30);
  assert(lines.every((line) => line.length <= 32 * 1024));
  assert.equal(lines.join("").length, 640_000);
});
