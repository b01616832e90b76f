import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Vmm } from "@kiln/host/vmm/vmm.ts";
import { type Ability, EngineResult, RESULTS, resultName } from "../../../script/lib/engines/results.ts";

/** A file to write what is found to; without one it is compared with what was found before. */
const TARGET = process.env.KILN_ENGINE_RESULTS;

/** Why VMs were not seen to have an ability: the engine was found to have no such thing, or this host cannot show it. */
export type Without = { no: string } | { leftOut: string };

/** Looks whether VMs have an ability, and fails when they should and have not. */
export type Look = (context: TestContext) => Promise<Without | undefined>;

/** What the suite finds about one engine. */
export class Findings {
  readonly #abilities: Ability[] = [];

  /** A test that is a line of the table in docs/engines.md. */
  can(area: string, name: string, look: Look): void {
    test(name, async (context) => {
      const found = (ability: Pick<Ability, "outcome" | "why">) =>
        this.#abilities.push({ area, name, ...ability });
      try {
        const without = await look(context);
        if (without === undefined) found({ outcome: "yes" });
        else if ("no" in without) found({ outcome: "no", why: without.no });
        if (without !== undefined) context.skip(Object.values(without)[0]);
      } catch (error) {
        found({
          outcome: "failed",
          why: String(error instanceof Error ? error.message : error).split("\n")[0],
        });
        throw error;
      }
    });
  }

  /** Writes what was found, or checks that it is what the table says; what this host left out is compared with nothing. */
  async conclude({ engine, identity }: Vmm, guest: string): Promise<void> {
    const { accelerator = "", version = "" } = identity;
    const date = new Date().toISOString().slice(0, 10);
    const result: EngineResult = {
      ...{ format: 1, engine, accelerator, version, guest, date },
      abilities: this.#abilities,
    };
    if (TARGET !== undefined) {
      await writeFile(TARGET, `${JSON.stringify(EngineResult.parse(result), undefined, 2)}\n`);
      return;
    }
    const text = await readFile(join(RESULTS, resultName(result)), "utf8").catch(() => undefined);
    if (text === undefined) return;
    const told = new Map(
      EngineResult.parse(JSON.parse(text)).abilities.map(({ name, outcome }) => [name, outcome]),
    );
    const here = this.#abilities.filter(({ outcome }) => outcome !== "failed");
    assert.deepEqual(
      here.map(({ name, outcome }) => [name, outcome]),
      here.map(({ name }) => [name, told.get(name)]),
      "docs/engines.md says otherwise",
    );
  }
}
