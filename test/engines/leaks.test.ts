import { test } from "node:test";
import { EngineName } from "@kiln/host/vmm/engines.ts";
import { openTestHome } from "../support/home.ts";
import { createAndKill } from "./leaks.ts";

test("creates and kills in a row leave nothing on the host", { timeout: 3_600_000 }, async (context) => {
  await using home = await openTestHome();
  const report = await createAndKill({
    home: home.root,
    rounds: 20,
    seed: 5,
    engine: EngineName.optional().parse(process.env.KILN_TEST_ENGINE),
    template: process.env.KILN_TEST_TEMPLATE ?? "python",
    log: (line) => context.diagnostic(line),
  });
  context.diagnostic(JSON.stringify(report));
});
