import assert from "node:assert/strict";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { cutFile, type Piece } from "./chunker.ts";
import { dataRanges, parse } from "./data-ranges.ts";
import { digestOf } from "./format/digest.ts";

const BLOCK = 4096;
const folder = await mkdtemp(join(tmpdir(), "kiln-chunker-"));
after(() => rm(folder, { recursive: true }));

let seed = 1;
function noise(blocks: number): Buffer {
  const bytes = Buffer.alloc(blocks * BLOCK);
  for (let at = 0; at < bytes.length; at += 4) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(seed, at);
  }
  return bytes;
}

async function cut(content: Buffer, options: Partial<Parameters<typeof cutFile>[2]> = {}): Promise<Piece[]> {
  const path = join(folder, "file");
  await writeFile(path, content);
  await using file = await open(path, "r");
  const pieces: Piece[] = [];
  for await (const piece of cutFile(file, content.length, { meanBlocks: 8, ...options }))
    pieces.push({ ...piece, content: Buffer.from(piece.content) });
  return pieces;
}

function assemble(pieces: readonly Piece[], length: number): Buffer {
  const content = Buffer.alloc(length);
  let next = 0;
  for (const { block, blocks, content: part } of pieces) {
    assert.ok(block >= next && blocks > 0 && blocks <= 32);
    assert.equal(part.length, Math.min(blocks * BLOCK, length - block * BLOCK));
    part.copy(content, block * BLOCK);
    next = block + blocks;
  }
  return content;
}

test("the pieces make up the file, whatever its holes and wherever it ends", async () => {
  const zeros = (blocks: number) => Buffer.alloc(blocks * BLOCK);
  for (const parts of [
    [noise(3000), zeros(5000), noise(1), zeros(15), noise(1), zeros(16), noise(40)],
    [zeros(100)],
    [noise(1).subarray(0, 100)],
    [zeros(3), noise(2100), noise(1).subarray(0, 1)],
    [],
  ]) {
    const content = Buffer.concat(parts);
    const pieces = await cut(content);
    assert.ok(assemble(pieces, content.length).equals(content));
    assert.ok(pieces.every(({ content: part }) => part.some((byte) => byte !== 0)));
  }
});

test("what moved by some blocks is cut into the same pieces", async () => {
  const files = noise(4000);
  const digests = async (content: Buffer) =>
    new Set((await cut(content)).map(({ content: part }) => digestOf(part)));
  const [before, moved] = [await digests(files), await digests(Buffer.concat([noise(7), files]))];
  const same = [...before].filter((digest) => moved.has(digest));
  assert.ok(same.length >= before.size - 2, `${same.length} of ${before.size}`);
});

test("blocks that do not count are zeros", async () => {
  const content = noise(100);
  const pieces = await cut(content, { counts: (block) => block < 10 || block >= 60 });
  content.fill(0, 10 * BLOCK, 60 * BLOCK);
  assert.ok(assemble(pieces, content.length).equals(content));
});

test("holes are not read, and nothing else is passed over", async () => {
  const path = join(folder, "sparse");
  const size = 9000 * BLOCK;
  const expected = Buffer.alloc(size);
  await using file = await open(path, "w+");
  await file.truncate(size);
  for (const [block, blocks] of [
    [5, 1],
    [2047, 2],
    [4000, 3000],
  ] as const) {
    const part = noise(blocks);
    part.copy(expected, block * BLOCK);
    await file.write(part, 0, part.length, block * BLOCK);
  }
  const ranges = await dataRanges(path);
  const pieces: Piece[] = [];
  for await (const piece of cutFile(file, size, { meanBlocks: 8, ranges }))
    pieces.push({ ...piece, content: Buffer.from(piece.content) });
  assert.ok(assemble(pieces, size).equals(expected));
});

test("reads what filefrag prints", () => {
  const output = `Filesystem type is: ef53
File size of x is 36864000 (9000 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        5..       5:      34816..     34816:      1:          6:
   1:        6..       7:      36864..     36865:      2:      34816: last,eof
   2:     2047..    2048:      36864..     36865:      2:      34816: last,eof
x: 3 extents found
`;
  assert.deepEqual(parse(output), [
    { block: 5, end: 8 },
    { block: 2047, end: 2049 },
  ]);
});
