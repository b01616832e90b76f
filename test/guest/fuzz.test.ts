import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzHost } from "./fuzz.ts";

test("a hostile guest's frames never get past the host's parser", { timeout: 120_000 }, async () => {
  const result = await fuzzHost({ frames: 50_000, seed: 20_26 });
  assert.ok(result.frames >= 50_000);
  assert.ok(result.refused > 0, "no mutation was ever refused: the fuzzer does not reach the parser");
});
