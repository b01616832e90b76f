/**
 * Kills the CLI, QEMU or the block server with SIGKILL at random moments of building, snapshotting and running, under a daemon that
 * stays, and checks that the next run works and that nothing is left behind. What kills of the daemon do: daemon.ts.
 *
 *     KILN_HOME=/somewhere node test/crash/kill.ts --rounds 20 --seed 1
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { HOLDER_GRACE_MS } from "@kiln/host/server/hold.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { finish, kiln, startKiln } from "../support/kiln.ts";
import { leftovers, processesOf } from "../support/leftovers.ts";
import { Random } from "../support/random.ts";

const VICTIMS = ["cli", "qemu", "block server"] as const;
type Victim = (typeof VICTIMS)[number];

const PATTERNS: Record<Victim, RegExp> = {
  cli: /packages\/cli\/src\/main\.ts run /,
  qemu: /^\S*qemu-system/,
  "block server": /block\/server\/main\.ts/,
};

export interface KillReport {
  rounds: number;
  /** How often each victim was met alive and killed. */
  killed: Record<Victim, number>;
}

/** A spec of its own for each round, so that there is something to build. */
async function writeSpec(home: string, round: string): Promise<string> {
  const path = join(home, `crash-${round}.json`);
  const spec = {
    name: `crash-${round}`,
    setup_commands: [`echo ${round} > /round`],
    memory_mib: 256,
    vcpu: 1,
  };
  await writeFile(path, JSON.stringify(spec));
  return path;
}

async function kill(home: string, victim: Victim): Promise<boolean> {
  const pids = [...(await processesOf(home))]
    .filter(([, command]) => PATTERNS[victim].test(command))
    .map(([pid]) => pid);
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself in the meantime.
    }
  }
  return pids.length > 0;
}

export async function killAtRandom(options: {
  home: string;
  rounds: number;
  seed: number;
  log?: (line: string) => void;
}): Promise<KillReport> {
  const { home, rounds, seed, log } = options;
  const random = new Random(seed);
  const killed: KillReport["killed"] = { cli: 0, qemu: 0, "block server": 0 };
  await using daemon = await openDaemonHome(home);

  // How long building and running take undisturbed on this machine, for moments spread over all of it. The first
  // build also makes what all share.
  let wholeMs = 0;
  for (const name of ["shared", "own"]) {
    const started = performance.now();
    const result = await kiln(["run", await writeSpec(home, `${seed}-${name}`), "--", "cat", "/round"], {
      home,
    });
    assert.equal(result.stdout, `${seed}-${name}\n`, result.stderr);
    wholeMs = performance.now() - started;
  }

  for (let round = 0; round < rounds; round++) {
    const spec = await writeSpec(home, `${seed}-${round}`);
    const victim = VICTIMS[round % VICTIMS.length] ?? "cli";
    const moment = random.below(Math.ceil(wholeMs));
    const child = startKiln(["run", spec, "--", "sh", "-c", "cat /round; sleep 5"], { home });
    const ended = finish(child);
    await Promise.race([delay(moment, undefined, { ref: false }), ended]);
    // A victim that is not there yet is waited for.
    let hit = false;
    while (!hit && child.exitCode === null && child.signalCode === null) {
      hit = await kill(home, victim);
      if (!hit) await delay(20);
    }
    if (hit) killed[victim] += 1;
    const result = await ended;
    log?.(
      `round ${round}: ${victim} after ${Math.round(moment)} ms, hit: ${hit}, ended with ${result.code ?? result.signal}`,
    );
    // A block server is replaced under a running sandbox; nothing replaces the others.
    if (result.code === 0) assert.equal(result.stdout, `${seed}-${round}\n`);
    if (hit && victim !== "block server")
      assert.notEqual(result.code, 0, `${victim} was killed and nobody noticed`);

    // A build goes on when its client goes away.
    for (const { id, finishedAt } of await daemon.client.builds.list()) {
      if (finishedAt === undefined) await daemon.client.builds.cancel(id);
    }
    assert.deepEqual(await left(daemon), [], `round ${round}: something outlived its owner`);
    const next = await kiln(["run", spec, "--", "cat", "/round"], { home });
    assert.equal(next.stdout, `${seed}-${round}\n`, `round ${round}: the next run failed: ${next.stderr}`);
    assert.deepEqual(await left(daemon), [], `round ${round}: something was left behind`);
    await kiln(["template", "rm", `crash-${seed}-${round}`], { home });
  }
  assert.deepEqual(await daemon.stop(), [], "the daemon left something behind");
  return { rounds, killed };
}

/** What has had time to go by then, in milliseconds: a client may have been killed between making a sandbox and holding it. */
const PATIENCE_MS = HOLDER_GRACE_MS + 10_000;

/** What is left beside the daemon, its two servers and what waits to become a VMM, when that has had time to go: sandboxes, processes, mounts, names. */
async function left({ home, pid, sandboxes }: DaemonHome): Promise<string[]> {
  const own = [
    /main\.ts serve/,
    /flock .*daemon\.lock/,
    /^process \d+: cat: cat $/,
    new RegExp(`zygote\\.pl ${pid} $`), // And what it has forked.
    /(block|network)\/server\/main\.ts \S+\/(block|net) $/,
  ];
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const others = (await leftovers(home, 0)).filter((line) => !own.some((pattern) => pattern.test(line)));
    const all = [...others, ...(await sandboxes())];
    if (all.length === 0 || performance.now() > deadline) return all;
    await delay(100);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "20" }, seed: { type: "string", default: "1" } },
  });
  const home = process.env.KILN_HOME;
  if (!home) throw new Error("set KILN_HOME to a folder this may use");
  const report = await killAtRandom({
    home,
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    log: console.error,
  });
  console.log(JSON.stringify(report));
}
