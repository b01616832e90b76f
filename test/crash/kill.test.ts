import assert from "node:assert/strict";
import { test } from "node:test";
import { openTestHome } from "../support/home.ts";
import { killAtRandom } from "./kill.ts";

test("kill -9 of CLI, QEMU and block server leaves nothing, and the next run works", {
  timeout: 900_000,
}, async (t) => {
  await using home = await openTestHome();
  const report = await killAtRandom({
    home: home.root,
    rounds: 3,
    seed: 7,
    log: (line) => t.diagnostic(line),
  });
  const hits = Object.values(report.killed).reduce((sum, count) => sum + count, 0);
  assert.ok(hits >= 2, `only ${hits} of ${report.rounds} kills met somebody`);
});
