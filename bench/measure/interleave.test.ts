import assert from "node:assert/strict";
import { test } from "node:test";
import { interleave } from "./interleave.ts";

test("contestants take turns, the order turns round, the first round is not counted", async () => {
  const order: string[] = [];
  let next = 0;
  const measure = (name: string) => async () => {
    order.push(name);
    return next++;
  };
  const values = await interleave({ a: measure("a"), b: measure("b") }, 2, new AbortController().signal);
  assert.equal(order.join(""), "baabba");
  assert.deepEqual(values, { a: [2, 5], b: [3, 4] });
});

test("an abort ends it between two measurements", async () => {
  const abort = new AbortController();
  const stop = new Error("stop");
  let measured = 0;
  const measure = async () => {
    if (++measured === 3) abort.abort(stop);
    return measured;
  };
  await assert.rejects(interleave({ a: measure }, 100, abort.signal), stop);
  assert.equal(measured, 3);
});
