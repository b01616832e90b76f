import assert from "node:assert/strict";
import { test } from "node:test";
import { Spares } from "./spares.ts";

test("spares are made after one was taken, and taken in turn", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let made = 0;
  const spares = new Spares(
    async () => ++made,
    (number) => number !== 3,
  );
  assert.equal(await spares.take(), 1);
  assert.equal(made, 1, "whoever takes one is about to start");
  t.mock.timers.tick(300);
  assert.equal(made, 3);
  assert.equal(await spares.take(), 2);
  t.mock.timers.tick(300);
  assert.equal(made, 3, "there is one left");
  assert.equal(await spares.take({ isNew: true }), 4);
  t.mock.timers.tick(3_000);
  assert.equal(made, 5);
  assert.equal(await spares.take(), 5, "one that is gone is not given to anybody");
});

test("one that cannot be made is tried again for whoever needs it, and told then", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let attempts = 0;
  const spares = new Spares<never>(
    async () => {
      throw new Error(`attempt ${++attempts}`);
    },
    () => true,
  );
  spares.warm();
  await assert.rejects(spares.take(), /attempt 3/);
});
