import assert from "node:assert/strict";
import { test } from "node:test";
import { format, parseCargoTest, parsePytest, parseTally, settle } from "./tally.ts";

test("a tally names what was skipped only where something was", () => {
  assert.equal(format({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
  assert.equal(format({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
});

test("a suite that ended well counts as it reported", () => {
  assert.deepEqual(settle({ passed: 3, failed: 0, skipped: 1 }, 0), { passed: 3, failed: 0, skipped: 1 });
  assert.deepEqual(settle({ passed: 3, failed: 2, skipped: 0 }, 1), { passed: 3, failed: 2, skipped: 0 });
});

test("a suite that crashed, was silent or ran nothing counts as a failure", () => {
  assert.equal(settle(undefined, 0).failed, 1);
  assert.equal(settle(undefined, 137).failed, 1);
  assert.equal(settle({ passed: 3, failed: 0, skipped: 0 }, 1).failed, 1);
  assert.equal(settle({ passed: 0, failed: 0, skipped: 0 }, 0).failed, 1);
});

test("cargo's results are summed over its test programs", () => {
  const output = [
    "running 2 tests",
    "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
    "[1/2] STEP 4/4: test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out",
  ].join("\n");
  assert.deepEqual(parseCargoTest(output), { passed: 3, failed: 1, skipped: 3 });
  assert.equal(parseCargoTest("error: could not compile `agent`"), undefined);
});

test("pytest's closing line is read, whatever is in it", () => {
  const line = (text: string) => `tests/a.py ....\n===== ${text} in 12.31s =====\n`;
  assert.deepEqual(parsePytest(line("40 passed")), { passed: 40, failed: 0, skipped: 0 });
  assert.deepEqual(parsePytest(line("3 failed, 40 passed, 1 skipped, 2 warnings, 1 error")), {
    passed: 40,
    failed: 4,
    skipped: 1,
  });
  assert.deepEqual(parsePytest(line("no tests ran")), { passed: 0, failed: 0, skipped: 0 });
  assert.equal(parsePytest("INTERNALERROR>"), undefined);
});

test("what is no tally is refused, a half-written file included", () => {
  assert.deepEqual(parseTally('{"passed":1,"failed":0,"skipped":2}'), { passed: 1, failed: 0, skipped: 2 });
  for (const text of ["", '{"passed":1,"fai', "null", "{}", '{"passed":1,"failed":"0","skipped":2}']) {
    assert.throws(() => parseTally(text));
  }
});
