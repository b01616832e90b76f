import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineName } from "@kiln/host/vmm/engines.ts";
import { openTestHome } from "../support/home.ts";
import { crashDaemon } from "./daemon.ts";

test("kill -9 of the daemon, its servers and VMs under load loses nothing and leaves nothing", {
  timeout: 1_800_000,
}, async (t) => {
  await using home = await openTestHome();
  const report = await crashDaemon({
    home: home.root,
    kills: 10,
    seed: 3,
    engine: EngineName.optional().parse(process.env.KILN_TEST_ENGINE),
    template: process.env.KILN_TEST_TEMPLATE ?? "python",
    log: (line) => t.diagnostic(line),
  });
  t.diagnostic(JSON.stringify(report));
  assert.ok(report.killed.daemon >= 2, "the daemon was hardly killed");
  assert.ok(report.created >= 2, "there was hardly any load");
});
