/**
 * Two daemons on one host create and kill sandboxes at once, and none of them gets what another has:
 *
 *     KILN_HOME=/somewhere OTHER_HOME=/elsewhere node test/engines/two-daemons.ts --rounds 10 --seed 1 --engine firecracker --template PATH
 */
import assert from "node:assert/strict";
import { readlink } from "node:fs/promises";
import { parseArgs } from "node:util";
import { EngineChoice, type EngineName } from "@kiln/host/vmm/engines.ts";
import { findFirecrackers } from "@kiln/host/vmm/firecracker/find.ts";
import { listSlots } from "@kiln/host/vmm/firecracker/nbd/list-slots.ts";
import { TestDaemon } from "../crash/support/test-daemon.ts";
import { changes } from "../support/host-state.ts";
import { Random } from "../support/random.ts";

/** How long what is going may take to be gone, in milliseconds. */
const PATIENCE_MS = 60_000;

export interface TwoDaemonsOptions {
  homes: readonly [string, string];
  rounds: number;
  seed: number;
  engine: EngineName | undefined;
  template: string;
  /** Sandboxes of each daemon at a time. */
  atOnce: number;
  log?: (line: string) => void;
}

export async function runTwoDaemons(options: TwoDaemonsOptions): Promise<void> {
  const { homes, rounds, seed, engine, template, atOnce, log } = options;
  await using resources = new AsyncDisposableStack();
  const daemons: TestDaemon[] = [];
  for (const home of homes) daemons.push(resources.use(await TestDaemon.start({ home, engine, template })));
  for (let round = 1; round <= rounds; round++) {
    const made = await Promise.all(daemons.map((daemon) => createSome(daemon, atOnce)));
    const seen = await checkAlone(homes);
    const random = new Random(seed * 1000 + round);
    await Promise.all(
      daemons.map(async (daemon, index) => {
        for (const id of made[index] ?? []) {
          await checkOwnDisk(daemon, id);
          // The other one's creates and kills go on meanwhile.
          if (random.chance(2)) await daemon.remove(await daemon.create());
          await daemon.remove(id);
        }
      }),
    );
    log?.(`round ${round}: ${seen}`);
  }
  // Both before the first look: processes are looked at on the whole host.
  for (const daemon of daemons) await daemon.stop();
  for (const home of homes) {
    assert.deepEqual(await changes(home, [], PATIENCE_MS), [], "something is left");
  }
}

const createSome = (daemon: TestDaemon, count: number) =>
  Promise.all(Array.from({ length: count }, () => daemon.create()));

/** Each Firecracker has a slot and a network namespace that no other has. @returns what was seen, a line. */
async function checkAlone(homes: readonly string[]): Promise<string> {
  const ours = (directory: string) => homes.some((home) => directory.startsWith(`${home}/`));
  const running = await findFirecrackers(ours);
  const slots = await listSlots();
  for (const { directory } of running) {
    assert.equal(slots.filter((slot) => slot.directory === directory).length, 1, `the slot of ${directory}`);
  }
  const namespaces = await Promise.all(
    running.map(({ process }) => readlink(`/proc/${Number.parseInt(process, 10)}/ns/net`)),
  );
  assert.equal(new Set(namespaces).size, running.length, "two share a namespace");
  const numbers = running.map(({ directory }) => slots.find((slot) => slot.directory === directory)?.number);
  return `${running.length} VMs, slots ${numbers.sort().join(" ")}, ${new Set(namespaces).size} namespaces`;
}

/** What a sandbox writes to its disk is what it reads from there, past all caches. */
async function checkOwnDisk(daemon: TestDaemon, id: string): Promise<void> {
  const script = "echo $0 >/root/mine && sync && echo 3 >/proc/sys/vm/drop_caches && cat /root/mine";
  assert.equal(await daemon.shell(id, script.replace("$0", id)), id, "another writes to its disk");
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "10" },
      seed: { type: "string", default: "1" },
      engine: { type: "string", default: "auto" },
      template: { type: "string", default: "python" },
      "at-once": { type: "string", default: "2" },
    },
  });
  const { KILN_HOME: home, OTHER_HOME: other } = process.env;
  if (!home || !other) throw new Error("set KILN_HOME and OTHER_HOME to folders this may use");
  await runTwoDaemons({
    homes: [home, other],
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    engine: EngineChoice.parse(values.engine),
    template: values.template,
    atOnce: Number(values["at-once"]),
    log: console.error,
  });
}
