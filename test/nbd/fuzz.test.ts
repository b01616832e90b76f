import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzServer } from "./fuzz.ts";

test("a hostile client neither stops nor grows the server", { timeout: 120_000 }, async () => {
  const result = await fuzzServer({ requests: 20_000, seed: 20_26 });
  assert.ok(result.requests >= 20_000);
  assert.ok(result.errors > 100, "hardly a request was refused: the fuzzer does not reach the parser");
  assert.ok(
    result.answered > 1_000_000,
    "hardly a request was answered: the fuzzer does not get past the handshake",
  );
});
