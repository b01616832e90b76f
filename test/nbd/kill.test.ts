/** Kills the server amid writes: what was acknowledged is there afterwards, what was not is old or new, by the block. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Random } from "../support/random.ts";
import { TestClient } from "./support/client.ts";
import { TestDisk } from "./support/test-disk.ts";

const BLOCK = 4096;
const BLOCKS = 2048;
const ROUNDS = 8;
const IN_FLIGHT = 16;

test("no acknowledged write is lost when the server is killed", { timeout: 180_000 }, async () => {
  await using it = await TestDisk.open(BLOCKS * BLOCK);
  const random = new Random(11);
  /** What each block may hold: one content, or several while a write's fate is unknown. */
  const possible: Buffer[][] = Array.from({ length: BLOCKS }, (_, block) => {
    const content = Buffer.alloc(BLOCK);
    it.base.subarray(block * BLOCK).copy(content);
    return [content];
  });
  let acknowledged = 0;
  let unknown = 0;
  for (let round = 0; round < ROUNDS; round++) {
    using client = await TestClient.connect(it.socketPath, "disk", { structured: round % 2 === 0 });
    const busy = new Set<number>();
    let killed = false;
    const writeOn = async () => {
      while (!killed) {
        const count = 1 + random.below(8);
        const first = random.below(BLOCKS - count);
        const blocks = Array.from({ length: count }, (_, index) => first + index);
        if (blocks.some((block) => busy.has(block))) continue;
        for (const block of blocks) busy.add(block);
        const data = random.bytes(count * BLOCK);
        const before = blocks.map((block) => possible[block] ?? []);
        for (const [index, block] of blocks.entries()) {
          possible[block] = [...(before[index] ?? []), data.subarray(index * BLOCK, (index + 1) * BLOCK)];
        }
        const reply = await client.write(first * BLOCK, data).catch(() => undefined);
        if (reply === undefined) {
          unknown++;
          return;
        }
        assert.equal(reply.error, 0);
        acknowledged++;
        for (const block of blocks) {
          possible[block] = possible[block]?.slice(-1) ?? [];
          busy.delete(block);
        }
      }
    };
    const writers = Array.from({ length: IN_FLIGHT }, writeOn);
    await delay(20 + random.below(150));
    const restarted = it.killAndRestart();
    await Promise.all(writers);
    killed = true;
    await restarted;
    using reader = await TestClient.connect(it.socketPath, "disk");
    for (let block = 0; block < BLOCKS; block++) {
      const { error, data } = await reader.read(block * BLOCK, BLOCK);
      assert.equal(error, 0);
      const held = possible[block]?.find((content) => content.equals(data));
      assert.ok(held, `round ${round}: block ${block} holds what nobody may find there`);
      possible[block] = [held];
    }
  }
  assert.ok(acknowledged > 100, `only ${acknowledged} writes were acknowledged`);
  assert.ok(unknown > 0, "the server was never killed amid a write");
});
