/** Collections beside builds, sandboxes, forks and pauses: nothing breaks, and what was acknowledged is there. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import type { DaemonHome } from "../support/daemon-home.ts";
import { Random } from "../support/random.ts";

/** Builds of each of the two builders, or more until a collection had something to remove; the others go on until they are done. */
const BUILDS = 2;

const base = {
  name: "base",
  disk_mib: 1024,
  memory_mib: 256,
  vcpu: 1,
  setup_commands: ["echo base > /etc/base"],
};

/** Another version of a template, with its parent's, and a sandbox of it at once, before anybody can collect it unseen. */
async function buildAndRun(daemon: DaemonHome, name: string, random: Random): Promise<void> {
  const word = `word-${random.uint32()}`;
  await daemon.client.build({ name, from: "base", setup_commands: [`echo ${word} > /etc/word`] });
  await using sandbox = await daemon.client.sandbox({ image: name, network: "none" });
  assert.equal((await sandbox.exec(["cat", "/etc/base", "/etc/word"])).stdout, `base\n${word}\n`);
  if (!random.chance(2)) return;
  const memoryMib = 256 + 16 * (1 + random.below(4));
  await using other = await daemon.client.sandbox({ image: name, network: "none", memoryMib });
  assert.equal((await other.exec(["cat", "/etc/word"])).stdout, `${word}\n`);
}

/** One sandbox's life: what it was told to write is what it has, wherever it is taken from. */
async function live(daemon: DaemonHome, random: Random, count: (what: string) => void): Promise<void> {
  const image = random.pick(["base", "left", "right"]);
  const sandbox = await daemon.client.sandbox({ image, network: "none" });
  count("create");
  let words = "";
  const check = async (of: Sandbox) =>
    assert.equal(
      (await of.exec(["sh", "-c", "cat /etc/base /root/words 2>&- || :"])).stdout,
      `base\n${words}`,
    );
  for (let step = 0; step < 4; step++) {
    const word = `word-${random.uint32()}`;
    await sandbox.exec(["sh", "-c", `echo ${word} >> /root/words`]);
    words += `${word}\n`;
    const what = random.pick(["pause", "fork", "check"]);
    count(what);
    if (what === "pause") {
      await sandbox.pause();
      await sandbox.resume();
    }
    if (what === "fork") {
      const [child] = await sandbox.fork();
      assert.ok(child);
      await check(child);
      await child.kill();
    }
    await check(sandbox);
  }
  await sandbox.kill();
}

/** @returns how often what was done. The daemon is without sandboxes and templates of these names afterwards. */
export async function collectUnderLoad(daemon: DaemonHome, seed: number): Promise<Record<string, number>> {
  const steps: Record<string, number> = {};
  const count = (what: string) => {
    steps[what] = (steps[what] ?? 0) + 1;
  };
  const atStake = () => (steps["removed template"] ?? 0) > 0 && (steps["removed snapshot"] ?? 0) > 0;
  await daemon.client.build(base);
  for (const name of ["left", "right"]) await buildAndRun(daemon, name, new Random(seed));
  let building = 2;
  const whileBuilding = async (work: () => Promise<void>) => {
    while (building > 0) await work();
  };
  const build = async (name: string, seed: number) => {
    const random = new Random(seed);
    try {
      for (let round = 0; round < BUILDS || (round < 2 * BUILDS && !atStake()); round++) {
        await buildAndRun(daemon, name, random);
        count("build");
      }
    } finally {
      building -= 1;
    }
  };
  const collector = new Random(seed + 3);
  const lives = [seed + 4, seed + 5].map((seed) => new Random(seed));
  const results = await Promise.allSettled([
    build("left", seed + 1),
    build("right", seed + 2),
    ...lives.map((random) => whileBuilding(() => live(daemon, random, count))),
    whileBuilding(async () => {
      const { removed } = await daemon.client.disk.collect({
        keep: collector.below(2),
        dryRun: collector.chance(5),
      });
      count("collect");
      for (const { kind } of removed) count(`removed ${kind}`);
      await delay(collector.below(2_000)); // The others need the processors, too.
    }),
  ]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  assert.ok(atStake(), "nothing was at stake");
  await daemon.client.disk.collect();
  for (const image of ["base", "left", "right"]) {
    await using sandbox = await daemon.client.sandbox({ image, network: "none" });
    assert.equal((await sandbox.exec(["cat", "/etc/base"])).stdout, "base\n");
  }
  for (const line of await daemon.sandboxes())
    await (await daemon.client.get(line.split(" ")[0] ?? "")).kill();
  for (const name of ["left", "right", "base"]) await daemon.client.templates.remove(name);
  return steps;
}
