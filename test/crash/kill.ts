/**
 * Kills the CLI, QEMU or the block server with SIGKILL at random moments of building, snapshotting and running, and
 * checks that the next run works and that nothing is left behind.
 *
 *     KILN_HOME=/somewhere node test/crash/kill.ts --rounds 20 --seed 1
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { finish, kiln, startKiln } from "../support/kiln.ts";
import { leftovers, processesOf } from "../support/leftovers.ts";
import { Random } from "../support/random.ts";

const VICTIMS = ["cli", "qemu", "block server"] as const;
type Victim = (typeof VICTIMS)[number];

const PATTERNS: Record<Victim, RegExp> = {
  cli: /packages\/cli\/src\/main\.ts/,
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

    const processes = await leftoverProcesses(home);
    assert.deepEqual(processes, [], `round ${round}: processes outlived their owner`);
    const next = await kiln(["run", spec, "--", "cat", "/round"], { home });
    assert.equal(next.stdout, `${seed}-${round}\n`, `round ${round}: the next run failed: ${next.stderr}`);
    assert.deepEqual(await leftovers(home), [], `round ${round}: something was left behind`);
    await kiln(["template", "rm", spec], { home });
  }
  return { rounds, killed };
}

async function leftoverProcesses(home: string): Promise<string[]> {
  return (await leftovers(home)).filter((line) => line.startsWith("process "));
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
