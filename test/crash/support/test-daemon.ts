import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KilnHome } from "@kiln/host/home.ts";
import { resolveTemplate, saveTemplate } from "@kiln/host/template/templates.ts";
import type { EngineName } from "@kiln/host/vmm/engines.ts";
import { type Answer, codeOf, type DaemonClient } from "./daemon-client.ts";
import { DaemonKeeper } from "./daemon-keeper.ts";

/** How long a template may take to be built and booted, in milliseconds. */
const BUILD_PATIENCE_MS = 1_800_000;

export interface TestDaemonOptions {
  home: string;
  engine: EngineName | undefined;
  /** Name of a template, or path of a spec. */
  template: string;
}

/** A daemon with one template, built for one engine. */
export class TestDaemon implements AsyncDisposable {
  readonly keeper: DaemonKeeper;
  readonly #template: string;
  readonly #engine: EngineName | undefined;

  private constructor(keeper: DaemonKeeper, template: string, engine: EngineName | undefined) {
    this.keeper = keeper;
    this.#template = template;
    this.#engine = engine;
  }

  static async start({ home, engine, template }: TestDaemonOptions): Promise<TestDaemon> {
    await mkdir(join(home, "logs"), { recursive: true });
    const kilnHome = new KilnHome(home);
    const spec = await resolveTemplate(kilnHome, template);
    if (spec.name !== template) await saveTemplate(kilnHome, spec);
    const keeper = new DaemonKeeper(home);
    await keeper.start();
    const daemon = new TestDaemon(keeper, spec.name, engine);
    try {
      await daemon.#build();
    } catch (error) {
      await keeper.stop();
      throw error;
    }
    return daemon;
  }

  get client(): DaemonClient {
    return this.keeper.client;
  }

  /** What a request for a sandbox, or for the build, says. */
  get wanted() {
    return { template: this.#template, ...(this.#engine === undefined ? {} : { engine: this.#engine }) };
  }

  async #build(): Promise<void> {
    const started = await this.client.send("POST", "/v1/builds", this.wanted);
    const { id } = expect(started, 202, "build").json();
    const deadline = performance.now() + BUILD_PATIENCE_MS;
    for (;;) {
      const answer = await this.client.send("GET", `/v1/builds/${String(id)}`);
      const { state, error } = expect(answer, 200, "build").json();
      if (state === "done") return;
      assert.ok(state === "queued" || state === "running", `${String(state)}: ${JSON.stringify(error)}`);
      assert.ok(performance.now() < deadline, "the build takes too long");
      await delay(200);
    }
  }

  /** @returns its id. */
  async create(): Promise<string> {
    const answer = await this.client.send("POST", "/v1/sandboxes", this.wanted);
    return String(expect(answer, 201, "create").json().id);
  }

  /** Asks for a sandbox and hangs up after a time, in milliseconds. */
  async giveUp(afterMs: number): Promise<void> {
    const answer = await this.client.send("POST", "/v1/sandboxes", this.wanted, AbortSignal.timeout(afterMs));
    if (!answer.lost) await this.remove(String(expect(answer, 201, "create").json().id));
    else {
      // The answer may have been on its way.
      for (const id of await this.list()) await this.remove(id);
    }
  }

  async list(): Promise<string[]> {
    const answer = await this.client.send("GET", "/v1/sandboxes?limit=1000");
    const { sandboxes } = expect(answer, 200, "list").json();
    return (sandboxes as { id: string }[]).map(({ id }) => id);
  }

  /** Runs a shell script in a sandbox and gives what it printed. */
  async shell(id: string, script: string): Promise<string> {
    const argv = ["/bin/sh", "-c", script];
    const answer = await this.client.send("POST", `/v1/sandboxes/${id}/exec`, { argv });
    const { stdout, stderr, exit_code: code } = expect(answer, 200, "exec").json();
    assert.equal(code, 0, `"${script}" ended with ${String(code)}: ${String(stderr)}`);
    return String(stdout).trim();
  }

  async remove(id: string): Promise<void> {
    const answer = await this.client.send("DELETE", `/v1/sandboxes/${id}`);
    if (!answer.lost && answer.status === 404) return;
    expect(answer, 204, "kill");
  }

  /** Ends the daemon in order. */
  stop(): Promise<void> {
    return this.keeper.stop();
  }

  /** After a failure, which says more than one to end in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }
}

function expect(answer: Answer, status: number, what: string): Exclude<Answer, { lost: true }> {
  assert.ok(!answer.lost && answer.status === status, `${what}: ${codeOf(answer)}`);
  return answer;
}
