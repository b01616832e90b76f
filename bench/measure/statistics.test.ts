import assert from "node:assert/strict";
import { test } from "node:test";
import { median, pairedRatio, quantile, summarize } from "./statistics.ts";

test("the median is the middle value, or the mean of the two in the middle", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([10, 1, 2, 3]), 2.5);
  assert.equal(median([7]), 7);
});

test("a quantile is one of the values", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.equal(quantile(hundred, 0.95), 95);
  assert.equal(quantile([5, 1], 0.95), 5);
  assert.equal(quantile([5, 1], 0), 1);
});

test("a summary leaves the series as it was", () => {
  const values = [4, 2, 9];
  assert.deepEqual(summarize(values), { runs: 3, min: 2, median: 4, p95: 9, max: 9 });
  assert.deepEqual(values, [4, 2, 9]);
});

test("paired ratios are not moved by a machine that becomes slower half-way", () => {
  assert.equal(pairedRatio([110, 220, 330], [100, 200, 300]), 1.1);
  assert.throws(() => pairedRatio([1], [1, 2]), RangeError);
});

test("nothing measured is not a zero", () => {
  assert.throws(() => summarize([]), RangeError);
});
