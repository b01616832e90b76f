import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type EngineResult, PAGE, readResults } from "./results.ts";
import { withTable } from "./table.ts";

test("docs/engines.md says of the engines what was found", async () => {
  const [page, results] = await Promise.all([readFile(PAGE, "utf8"), readResults()]);
  assert.ok(results.length > 0);
  assert.equal(page, withTable(page, results), "node script/lib/engines/table.ts writes the table anew");
});

test("what an engine has not, or what failed, is told", () => {
  const page =
    "before\n<!-- from test/engines/results, by script/lib/engines/table.ts -->old<!-- end of what the engine suite found -->\nafter\n";
  const result: EngineResult = {
    ...{ format: 1, engine: "qemu", accelerator: "kvm", version: "7.2", guest: "1 vCPU", date: "2026-01-02" },
    abilities: [
      { area: "disk", name: "one", outcome: "yes" },
      { area: "disk", name: "two", outcome: "failed", why: "1 !== 2" },
      { area: "network", name: "three", outcome: "no", why: "it has none" },
    ],
  };
  const written = withTable(page, [result]);
  assert.match(written, /^before\n/);
  assert.match(
    written,
    /\| \*\*disk\*\* \| one \| not run \| yes \| not run \|\n\| {2}\| two \| not run \| failed \| not run \|\n/,
  );
  assert.match(written, /\n- QEMU, KVM: "two": failed: 1 !== 2\n- QEMU, KVM: "three": no: it has none\n/);
  assert.match(written, /\nafter\n$/);
});
