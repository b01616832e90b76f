import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { inParallel } from "./in-parallel.ts";

test("results come in the order of the items, however many run at a time", async () => {
  let running = 0;
  let most = 0;
  const square = async (n: number) => {
    most = Math.max(most, ++running);
    await delay(5 - n);
    running--;
    return n * n;
  };
  assert.deepEqual(await inParallel([1, 2, 3, 4, 5], square, { atOnce: 2 }), [1, 4, 9, 16, 25]);
  assert.equal(most, 2);
  assert.deepEqual(await inParallel([], square), []);
});

test("the first failure cancels the others and is thrown when all have ended", async () => {
  const ended: string[] = [];
  const task = async (name: string, signal: AbortSignal) => {
    if (name === "fails") throw new Error("first");
    await delay(60_000, undefined, { signal }).catch(() => delay(10));
    ended.push(name);
    throw new Error("second");
  };
  await assert.rejects(inParallel(["waits", "fails", "later"], task, { atOnce: 2 }), /first/);
  assert.deepEqual(ended, ["waits"]);
});

test("an iterator's items are all taken", async () => {
  const doubled = await inParallel([1, 2, 3].entries(), async ([index, item]) => index * item, { atOnce: 2 });
  assert.deepEqual(doubled, [0, 2, 6]);
});
