import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzMigration } from "./fuzz.ts";

test("a damaged migration stream is refused, or stays within its bounds", { timeout: 120_000 }, () => {
  const { separated, refused } = fuzzMigration({ runs: 2_000, seed: 20_26 });
  assert.ok(refused > 500, "hardly a stream was refused: the fuzzer does not reach the parser");
  assert.ok(separated > 100, "hardly a damaged stream was taken: the fuzzer does not get past the header");
});
