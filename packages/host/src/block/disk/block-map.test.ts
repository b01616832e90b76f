import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { BlockMap, forEachPresent } from "./block-map.ts";
import { ABSENT, BLOCK_SIZE, DATA, ZERO } from "./geometry.ts";

const BLOCKS = 200;
const OFFSET = 16;

test("a map behaves like an array of states, in memory and in its file", () => {
  const directory = mkdtempSync(join(tmpdir(), "kiln-map-"));
  const path = join(directory, "map");
  try {
    const change = fc.tuple(fc.nat(BLOCKS - 1), fc.nat(BLOCKS), fc.constantFrom(ABSENT, DATA, ZERO));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const fd = openSync(path, "w+");
        try {
          const length = BlockMap.byteLength(BLOCKS * BLOCK_SIZE);
          ftruncateSync(fd, OFFSET + length);
          const map = new BlockMap(fd, OFFSET, new Uint8Array(length));
          const model = new Array<number>(BLOCKS).fill(ABSENT);
          for (const [first, wanted, state] of changes) {
            const count = Math.min(wanted, BLOCKS - first);
            map.set(first, count, state);
            model.fill(state, first, first + count);
          }
          const states = model.map((_, block) => map.get(block));
          assert.deepEqual(states, model);
          assert.deepEqual(Buffer.from(map.bytes), readFileSync(path).subarray(OFFSET));
          const present: [number, number][] = [];
          forEachPresent(map.bytes, (block, state) => present.push([block, state]));
          assert.deepEqual(
            present,
            [...model.entries()].filter(([, state]) => state !== ABSENT),
          );
          assert.deepEqual(
            map.counts().slice(1),
            [DATA, ZERO].map((s) => model.filter((m) => m === s).length),
          );
          for (let block = 0; block < BLOCKS; block++) {
            const end = map.runEnd(block, BLOCKS);
            const next = model.findIndex((state, other) => other > block && state !== model[block]);
            assert.equal(end, next === -1 ? BLOCKS : next);
          }
          assert.ok(BlockMap.isValid(map.bytes));
        } finally {
          closeSync(fd);
        }
      }),
      { numRuns: 200, seed: 42 },
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a map with a state that doesn't exist is not valid", () => {
  const bytes = new Uint8Array(8);
  assert.ok(BlockMap.isValid(bytes));
  bytes[5] = 0b00110000;
  assert.ok(!BlockMap.isValid(bytes));
});
