import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Turns } from "./turns.ts";

const LONG_MS = 60_000;

test("no more than so many have their turn at once, and each has one, in order", async () => {
  const turns = new Turns(2, LONG_MS);
  let now = 0;
  let most = 0;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 7 }, async (_, index) => {
      const end = await turns.take();
      order.push(index);
      most = Math.max(most, ++now);
      await delay(2);
      now--;
      end();
      end(); // Gives nobody a second turn.
    }),
  );
  assert.equal(most, 2);
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6]);
});

test("who gives up waiting takes nobody's turn", async () => {
  const turns = new Turns(1, LONG_MS);
  const end = await turns.take();
  const waiting = new AbortController();
  const gaveUp = turns.take(waiting.signal);
  const next = turns.take();
  waiting.abort(new Error("enough"));
  await assert.rejects(gaveUp, { code: "CANCELLED" });
  end();
  (await next)();
  await assert.rejects(turns.take(AbortSignal.abort()), { code: "CANCELLED" });
  (await turns.take())();
});

test("a turn that takes too long holds up nobody", async () => {
  const turns = new Turns(1, 20);
  await turns.take();
  await delay(40); // Its timer keeps no process from ending.
  (await turns.take())();
});
