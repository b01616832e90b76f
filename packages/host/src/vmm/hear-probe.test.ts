import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hearProbe, type ProbeLimits } from "./hear-probe.ts";

const BELIEF_MS = 3_600_000;
const limits = (given: Partial<ProbeLimits>): ProbeLimits => ({
  ...{ firstWordsMs: 60_000, silenceMs: 60_000, wholeMs: 60_000, beliefMs: BELIEF_MS },
  ...given,
});
/** A program in the VMM's place that says on its console what a guest would. */
const hear = (script: string, given: Partial<ProbeLimits>) =>
  hearProbe("sh", ["sh", ["-c", script]], undefined, limits(given));
const FIRST_LINE = "echo '[    0.000000] Linux version 6.1.0'";

describe("the verdict on a VMM", { timeout: 60_000 }, () => {
  test("is good with the guest's word, however much it said before", async () => {
    const script = `${FIRST_LINE}; head -c 100000 /dev/zero | tr '\\0' x; echo; echo 'kiln: probe ok'; exec sleep 60`;
    assert.deepEqual(await hear(script, {}), { boots: true });
  });

  test("is final when the VMM gives up, with its last words", async () => {
    const verdict = await hear("echo 'no such CPU' >&2; exit 1", {});
    assert.deepEqual(verdict, { boots: false, why: "sh gave up: no such CPU" });
  });

  test("does not wait long for a guest whose kernel says nothing, and is not believed for ever", async () => {
    const before = Date.now();
    // Its loader may talk: real-mode code runs where nothing else does.
    const verdict = await hear("while :; do echo Probing EDD; sleep 0.05; done", { firstWordsMs: 500 });
    assert.ok(!verdict.boots);
    assert.match(verdict.why, /^no guest boots under it/);
    assert.ok((verdict.tryAgainAtMs ?? 0) >= before + BELIEF_MS);
  });

  test("waits longer for a guest whose kernel has spoken", async () => {
    const slow = `${FIRST_LINE}; sleep 1; echo 'kiln: probe ok'; exec sleep 60`;
    assert.deepEqual(await hear(slow, { firstWordsMs: 500 }), { boots: true });
    const silent = await hear(`${FIRST_LINE}; exec sleep 60`, { firstWordsMs: 10_000, silenceMs: 300 });
    assert.ok(!silent.boots);
    assert.match(silent.why, /^guests boot too slowly under it/);
    assert.notEqual(silent.tryAgainAtMs, undefined);
  });

  test("comes in the end from a guest that never stops talking", async () => {
    const verdict = await hear(`${FIRST_LINE}; while :; do echo more; sleep 0.05; done`, { wholeMs: 700 });
    assert.ok(!verdict.boots);
    assert.match(verdict.why, /not in 0.7 s/);
  });

  test("is not waited for when that is cancelled", async () => {
    const verdict = hearProbe("sh", ["sleep", ["60"]], AbortSignal.timeout(100), limits({}));
    await assert.rejects(verdict, { code: "CANCELLED" });
  });
});
