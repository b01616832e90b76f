import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../../support/random.ts";
import { type Answer, codeOf } from "./daemon-client.ts";
import type { DaemonKeeper } from "./daemon-keeper.ts";
import type { Kills } from "./kills.ts";

const PATIENCE_MS = 120_000;
const RETRY_MS = 50;

/** Counts for ever, a line a number, after so many seconds each: a count lost, told twice or out of order shows in the file. */
const counter = (seconds: number) =>
  `i=0; while :; do i=$((i+1)); echo $i >> /var/tmp/count; sleep ${seconds}; done`;

/** What a file may hold: one content, or several while a write's fate is unknown; undefined: no such file. */
type Possible = (string | undefined)[];

/**
 * A sandbox as its client knows it: what was acknowledged, and what may or may not have happened. Every call checks the
 * daemon's answer against that.
 */
export class SandboxModel {
  readonly id: string;
  readonly #keeper: DaemonKeeper;
  readonly #kills: Kills;
  readonly #files: Map<string, Possible>;
  #counted: number | undefined;

  constructor(id: string, keeper: DaemonKeeper, kills: Kills, parent?: SandboxModel) {
    this.id = id;
    this.#keeper = keeper;
    this.#kills = kills;
    this.#files = new Map();
    if (parent === undefined) return;
    for (const [path, possible] of parent.#files) this.#files.set(path, [...possible]);
    this.#counted = parent.#counted;
  }

  /** Whether its VM was killed, which it need not survive. */
  get #mayBeDead(): boolean {
    return this.#kills.vms.has(this.id);
  }

  /**
   * Asks until there is an answer that is no consequence of a kill. @returns it, or undefined when the sandbox is dead as
   * it may be.
   */
  async #ask(method: string, path: string, body?: object | Buffer): Promise<Answer | undefined> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const asked = performance.now();
      const answer = await this.#keeper.client.send(method, `/v1/sandboxes/${this.id}${path}`, body);
      if (!answer.lost && answer.status < 300) return answer;
      if (!answer.lost && answer.status === 409 && (await this.isDead())) return undefined;
      const excused = this.#kills.since(asked) || this.#mayBeDead;
      // Its VM is gone and the daemon is about to say so.
      const dying = !answer.lost && answer.status === 409 && this.#mayBeDead;
      if (!dying && !answer.lost && answer.status < 500) return answer;
      assert.ok(excused, `${method} ${path} of ${this.id}, and nothing was killed: ${codeOf(answer)}`);
      assert.ok(performance.now() < deadline, `${method} ${path} of ${this.id}, still: ${codeOf(answer)}`);
      await this.#keeper.back();
      if (await this.isDead()) return undefined;
      await delay(RETRY_MS);
    }
  }

  /** Whether the daemon says that it is dead, which it has to give a reason for and must not say without one. */
  async isDead(): Promise<boolean> {
    const answer = await this.#keeper.client.send("GET", `/v1/sandboxes/${this.id}`);
    if (answer.lost || answer.status !== 200) {
      if (!answer.lost) assert.notEqual(answer.status, 404, `${this.id} is forgotten: ${codeOf(answer)}`);
      return false;
    }
    const { state, reason } = answer.json();
    if (state !== "dead") return false;
    assert.ok(this.#mayBeDead, `${this.id} is dead, and nobody killed its VM: ${String(reason)}`);
    assert.ok(typeof reason === "string" && reason !== "", `${this.id} is dead without a reason`);
    return true;
  }

  async state(): Promise<string | undefined> {
    const answer = await this.#ask("GET", "");
    return answer === undefined || answer.lost ? undefined : String(answer.json().state);
  }

  /** @returns whether it is alive still. */
  async startCounter(slowness: number): Promise<boolean> {
    const argv = ["/bin/sh", "-c", counter(0.1 * slowness)];
    // Only once: an answer that is lost leaves it open whether one runs.
    const asked = performance.now();
    const started = await this.#keeper.client.send("POST", `/v1/sandboxes/${this.id}/processes`, {
      argv,
      background: true,
    });
    if (!started.lost && started.status === 201) {
      this.#counted = 0;
      return true;
    }
    assert.ok(this.#kills.since(asked) || this.#mayBeDead, `no counter in ${this.id}: ${codeOf(started)}`);
    return !(await this.isDead());
  }

  async write(random: Random): Promise<boolean> {
    const path = `/var/tmp/file-${random.below(6)}`;
    const content = random.bytes(1 + random.below(random.chance(4) ? 300_000 : 3_000)).toString("hex");
    const before = this.#files.get(path) ?? [undefined];
    this.#files.set(path, [...before, content]);
    const answer = await this.#ask("PUT", `/files?path=${path}`, Buffer.from(content));
    if (answer === undefined) return false;
    assert.ok(
      !answer.lost && answer.status < 300,
      `${path} of ${this.id} cannot be written: ${codeOf(answer)}`,
    );
    this.#files.set(path, [content]);
    return true;
  }

  /** Checks every file and the count. */
  async check(): Promise<boolean> {
    for (const [path, possible] of this.#files) {
      const answer = await this.#ask("GET", `/files?path=${path}`);
      if (answer === undefined) return false;
      assert.ok(!answer.lost);
      const found = answer.status === 404 ? undefined : answer.body.toString();
      if (answer.status !== 404) assert.equal(answer.status, 200, `${path} of ${this.id}: ${codeOf(answer)}`);
      assert.ok(
        possible.includes(found),
        `${path} of ${this.id} holds ${found === undefined ? "nothing" : `${found.length} bytes`} that nobody may find there`,
      );
      this.#files.set(path, [found]);
    }
    return this.#checkCount();
  }

  async #checkCount(): Promise<boolean> {
    if (this.#counted === undefined) return true;
    const answer = await this.#ask("GET", "/files?path=/var/tmp/count");
    if (answer === undefined) return false;
    assert.ok(!answer.lost);
    if (answer.status === 404 && this.#counted === 0) return true;
    assert.equal(answer.status, 200, `the count of ${this.id}: ${codeOf(answer)}`);
    const lines = answer.body.toString().split("\n").slice(0, -1);
    for (const [index, line] of lines.entries()) {
      assert.equal(line, `${index + 1}`, `the count of ${this.id} has a gap`);
    }
    assert.ok(lines.length >= this.#counted, `${this.id} counted to ${this.#counted}, now ${lines.length}`);
    this.#counted = lines.length;
    return true;
  }

  /** The count goes on. */
  async checkCounting(): Promise<boolean> {
    if (!(await this.#checkCount())) return false;
    const before = this.#counted;
    if (before === undefined) return true;
    const deadline = performance.now() + PATIENCE_MS;
    while (this.#counted === before) {
      assert.ok(performance.now() < deadline, `${this.id} counts no more: it stands at ${before}`);
      await delay(200);
      if (!(await this.#checkCount())) return false;
    }
    return true;
  }

  async exec(random: Random): Promise<boolean> {
    const word = random.bytes(8).toString("hex");
    const answer = await this.#ask("POST", "/exec", { argv: ["/bin/echo", word] });
    if (answer === undefined) return false;
    assert.ok(!answer.lost && answer.status === 200, `exec in ${this.id}: ${codeOf(answer)}`);
    assert.equal(answer.json().stdout, `${word}\n`);
    return true;
  }

  /** Pauses and resumes it. */
  async pauseAndResume(): Promise<boolean> {
    const paused = await this.#ask("POST", "/pause");
    if (paused === undefined) return false;
    assert.ok(!paused.lost && paused.status === 200, `pause of ${this.id}: ${codeOf(paused)}`);
    return this.resume();
  }

  async resume(): Promise<boolean> {
    const resumed = await this.#ask("POST", "/resume", {});
    if (resumed === undefined) return false;
    assert.ok(!resumed.lost && resumed.status === 200, `resume of ${this.id}: ${codeOf(resumed)}`);
    return true;
  }

  /** A copy that goes on from here, or undefined when there is none: the answer was lost, or this is dead. */
  async fork(): Promise<SandboxModel | undefined> {
    const asked = performance.now();
    const answer = await this.#keeper.client.send("POST", `/v1/sandboxes/${this.id}/fork`, { count: 1 });
    if (!answer.lost && answer.status === 201) {
      const [child] = answer.json().sandboxes as { id: string }[];
      assert.ok(child);
      return new SandboxModel(child.id, this.#keeper, this.#kills, this);
    }
    assert.ok(this.#kills.since(asked) || this.#mayBeDead, `fork of ${this.id}: ${codeOf(answer)}`);
    return undefined;
  }

  /** Kills it, dead or alive; afterwards nobody knows it any more. */
  async remove(): Promise<void> {
    const path = `/v1/sandboxes/${this.id}`;
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const answer = await this.#keeper.client.send("DELETE", path);
      if (!answer.lost && (answer.status === 204 || answer.status === 404)) break;
      assert.ok(performance.now() < deadline, `${this.id} cannot be removed: ${codeOf(answer)}`);
      await this.#keeper.back();
      await delay(RETRY_MS);
    }
    await this.#keeper.back();
    const gone = await this.#keeper.client.send("GET", path);
    assert.ok(gone.lost || gone.status === 404, `${this.id} was removed and is there: ${codeOf(gone)}`);
  }
}
