/**
 * Creates and kills sandboxes in a row, and checks that nothing of them is left on the host:
 *
 *     KILN_HOME=/somewhere node test/engines/leaks.ts --rounds 200 --seed 1 --engine firecracker --template ./bench-python.json
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { EngineChoice, type EngineName } from "@kiln/host/vmm/engines.ts";
import { TestDaemon } from "../crash/support/test-daemon.ts";
import { changes, hostState } from "../support/host-state.ts";
import { Random } from "../support/random.ts";

/** How long what is going may take to be gone, in milliseconds. */
const PATIENCE_MS = 60_000;
/** Rounds between two looks at the host. */
const LOOK_EVERY = 10;

/** What becomes of a sandbox. */
const FATES = [
  "killed at once",
  "killed at once",
  "used and killed",
  "killed with another",
  "given up",
] as const;
type Fate = (typeof FATES)[number];

export interface LeakOptions {
  home: string;
  rounds: number;
  seed: number;
  engine: EngineName | undefined;
  /** Name of a template, or path of a spec. */
  template: string;
  log?: (line: string) => void;
}

export type LeakReport = Record<Fate, number>;

export async function createAndKill(options: LeakOptions): Promise<LeakReport> {
  const { home, rounds, seed, log } = options;
  const random = new Random(seed);
  const report: LeakReport = {
    "killed at once": 0,
    "used and killed": 0,
    "killed with another": 0,
    "given up": 0,
  };
  await using daemon = await TestDaemon.start(options);
  const nothing = await hostState(home);
  // The first one makes what all share.
  const started = performance.now();
  await daemon.remove(await daemon.create());
  const createMs = performance.now() - started;
  const before = await settled(home);
  log?.(
    `the first took ${Math.round(createMs)} ms; beside it there are: ${before.length - nothing.length} more`,
  );

  for (let round = 1; round <= rounds; round++) {
    const fate = random.pick(FATES);
    report[fate] += 1;
    const from = performance.now();
    if (fate === "given up") await daemon.giveUp(random.below(Math.ceil(createMs)));
    else {
      const ids = await Promise.all(
        Array.from({ length: fate === "killed with another" ? 2 : 1 }, () => daemon.create()),
      );
      if (fate === "used and killed") {
        assert.equal(
          await daemon.shell(ids[0] ?? "", `echo ${round} >/root/round; sync; cat /root/round`),
          `${round}`,
        );
      }
      await Promise.all(ids.map((id) => daemon.remove(id)));
    }
    log?.(`round ${round}: ${fate}: ${Math.round(performance.now() - from)} ms`);
    if (round % LOOK_EVERY === 0 || round === rounds) {
      assert.deepEqual(await changes(home, before, PATIENCE_MS), [], `round ${round}: something is left`);
    }
  }
  await daemon.stop();
  assert.deepEqual(await changes(home, [], PATIENCE_MS), [], "the daemon left something behind");
  return report;
}

/** Longer than a daemon waits before it makes the next launcher, in milliseconds. */
const SETTLED_MS = 5_000;

/** What is there once it does not change any more. */
async function settled(home: string): Promise<string[]> {
  while (true) {
    const last = await hostState(home);
    await delay(SETTLED_MS);
    if ((await changes(home, last, 0)).length === 0) return last;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "200" },
      seed: { type: "string", default: "1" },
      engine: { type: "string", default: "auto" },
      template: { type: "string", default: "python" },
    },
  });
  const home = process.env.KILN_HOME;
  if (!home) throw new Error("set KILN_HOME to a folder this may use");
  const report = await createAndKill({
    home,
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    engine: EngineChoice.parse(values.engine),
    template: values.template,
    log: console.error,
  });
  console.log(JSON.stringify(report));
}
