/**
 * Kills the daemon, its servers and its VMs with SIGKILL at random moments of a mixed load, and checks that what was
 * acknowledged is there, that what died is told, that the daemon comes back, and that nothing is left in the end.
 *
 *     KILN_HOME=/somewhere node test/crash/daemon.ts --kills 100 --seed 1 [--engine firecracker --template PATH --workers 1 --slowness 5]
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { EngineChoice, type EngineName } from "@kiln/host/vmm/engines.ts";
import { changes } from "../support/host-state.ts";
import { Random } from "../support/random.ts";
import { codeOf } from "./support/daemon-client.ts";
import type { DaemonKeeper } from "./support/daemon-keeper.ts";
import { Kills, type Victim } from "./support/kills.ts";
import { SandboxModel } from "./support/sandbox-model.ts";
import { TestDaemon } from "./support/test-daemon.ts";

/** Between two kills, in milliseconds. */
const PAUSE_MS = { least: 200, most: 4_000 };
/** What a sandbox goes through before the worker removes it and creates another. */
const STEPS = 12;
/** How long what is going may take to be gone, in milliseconds. */
const GOING_MS = 60_000;

export interface CrashReport {
  killed: Record<Victim, number>;
  created: number;
  steps: Record<string, number>;
  slowestStartMs: number;
}

export interface CrashOptions {
  home: string;
  kills: number;
  seed: number;
  /** Name of a template, or path of a spec. @default "python" */
  template?: string;
  /** @default the host's own */
  engine?: EngineName | undefined;
  /** Sandboxes at work at a time. @default 3 */
  workers?: number;
  /** How often longer everything takes here than on an ordinary host, so that as much happens between two kills. @default 1 */
  slowness?: number;
  log?: (line: string) => void;
}

class Crash {
  readonly #options: CrashOptions;
  readonly #daemon: TestDaemon;
  readonly #keeper: DaemonKeeper;
  readonly #kills: Kills;
  readonly #alive = new Set<SandboxModel>();
  readonly report: Pick<CrashReport, "created" | "steps"> = { created: 0, steps: {} };
  #done = false;

  private constructor(options: CrashOptions, daemon: TestDaemon) {
    this.#options = options;
    this.#daemon = daemon;
    this.#keeper = daemon.keeper;
    this.#kills = new Kills(options.home, this.#keeper, options.engine, this.#slowness);
  }

  get #slowness(): number {
    return this.#options.slowness ?? 1;
  }

  /** The template is built before the first kill: what a killed build leaves is another test's. */
  static async open(options: CrashOptions): Promise<Crash> {
    const { home, engine, template = "python" } = options;
    return new Crash(options, await TestDaemon.start({ home, engine, template }));
  }

  async run(): Promise<CrashReport> {
    const { kills, seed, log, workers: count = 3 } = this.#options;
    try {
      const killer = this.#killUntil(kills, new Random(seed));
      const workers = Array.from({ length: count }, (_, number) =>
        this.#work(new Random(seed * 1000 + number + 1)),
      );
      try {
        await Promise.all([killer, ...workers]);
      } finally {
        this.#done = true;
        await Promise.allSettled([killer, ...workers]);
      }
      log?.(`killed ${JSON.stringify(this.#kills.counts)}; now the rest is checked`);
      await this.#checkAll();
    } finally {
      await this.#removeAll();
      await this.#keeper.stop();
    }
    const { home } = this.#options;
    assert.deepEqual(await changes(home, [], GOING_MS), [], "something was left behind");
    return { ...this.report, killed: this.#kills.counts, slowestStartMs: this.#keeper.slowestStartMs };
  }

  async #killUntil(kills: number, random: Random): Promise<void> {
    while (!this.#done && this.#kills.total < kills) {
      await delay(this.#slowness * (PAUSE_MS.least + random.below(PAUSE_MS.most - PAUSE_MS.least)));
      const killed = await this.#kills.one(random);
      if (killed !== undefined) this.#options.log?.(`kill ${this.#kills.total}: ${killed}`);
    }
    this.#done = true;
  }

  #count(step: string): void {
    this.report.steps[step] = (this.report.steps[step] ?? 0) + 1;
  }

  async #work(random: Random): Promise<void> {
    try {
      while (!this.#done) {
        const sandbox = await this.#create();
        if (sandbox === undefined) continue;
        const lives = await this.#live(sandbox, random);
        if (this.#done && lives) return; // The end looks at it.
        await this.#remove(sandbox);
      }
    } catch (error) {
      this.#done = true;
      throw error;
    }
  }

  async #create(): Promise<SandboxModel | undefined> {
    const asked = performance.now();
    const answer = await this.#keeper.client.send("POST", "/v1/sandboxes", {
      ...this.#daemon.wanted,
      network: "none",
    });
    if (!answer.lost && answer.status === 201) {
      const sandbox = new SandboxModel(String(answer.json().id), this.#keeper, this.#kills);
      this.#alive.add(sandbox);
      this.report.created += 1;
      return (await sandbox.startCounter(this.#slowness)) ? sandbox : this.#remove(sandbox);
    }
    assert.ok(this.#kills.since(asked), `no sandbox, and nothing was killed: ${codeOf(answer)}`);
    this.#count("create failed");
    await this.#keeper.back();
    return undefined;
  }

  async #remove(sandbox: SandboxModel): Promise<undefined> {
    await sandbox.remove();
    this.#alive.delete(sandbox);
    this.#count("remove");
    return undefined;
  }

  /** @returns whether it is alive still. */
  async #live(sandbox: SandboxModel, random: Random): Promise<boolean> {
    for (let step = 0; step < STEPS && !this.#done; step++) {
      const what = random.pick(["write", "write", "check", "exec", "exec", "pause", "fork"] as const);
      this.#count(what);
      if (!(await this.#step(sandbox, what, random))) {
        this.#count("found dead");
        return false;
      }
    }
    return true;
  }

  async #step(sandbox: SandboxModel, what: string, random: Random): Promise<boolean> {
    switch (what) {
      case "write":
        return sandbox.write(random);
      case "check":
        return sandbox.check();
      case "exec":
        return sandbox.exec(random);
      case "pause":
        return (await sandbox.pauseAndResume()) && (await sandbox.check());
      default: {
        const child = await sandbox.fork();
        if (child === undefined) return !(await sandbox.isDead());
        this.#alive.add(child);
        if (await child.check()) await child.checkCounting();
        await this.#remove(child);
        return true;
      }
    }
  }

  async #checkAll(): Promise<void> {
    await this.#keeper.back();
    for (const sandbox of this.#alive) {
      if (await sandbox.isDead()) continue;
      if ((await sandbox.state()) !== "running" && !(await sandbox.resume())) continue;
      if (await sandbox.check()) await sandbox.checkCounting();
    }
  }

  /** Every sandbox there is: also those whose creation was acknowledged to nobody. */
  async #removeAll(): Promise<void> {
    await this.#keeper.back();
    const answer = await this.#keeper.client.send("GET", "/v1/sandboxes?limit=1000");
    assert.ok(!answer.lost && answer.status === 200, codeOf(answer));
    for (const { id } of answer.json().sandboxes as { id: string }[]) {
      await new SandboxModel(id, this.#keeper, this.#kills).remove();
    }
  }
}

export async function crashDaemon(options: CrashOptions): Promise<CrashReport> {
  return (await Crash.open(options)).run();
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      template: { type: "string", default: "python" },
      engine: { type: "string", default: "auto" },
      workers: { type: "string", default: "3" },
      slowness: { type: "string", default: "1" },
    },
  });
  const home = process.env.KILN_HOME;
  if (!home) throw new Error("set KILN_HOME to a folder this may use");
  const report = await crashDaemon({
    home,
    kills: Number(values.kills),
    seed: Number(values.seed),
    template: values.template,
    engine: EngineChoice.parse(values.engine),
    workers: Number(values.workers),
    slowness: Number(values.slowness),
    log: console.error,
  });
  console.log(JSON.stringify(report));
}
