import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CLI_MAIN, TEST_MARK } from "../../support/kiln.ts";
import { DaemonClient } from "./daemon-client.ts";

/** How long a daemon may take to come back, in milliseconds from its start: it takes up every sandbox first, in the KVM bench in a minute. */
const BACK_MS = 180_000;
/** Between two looks whether a daemon answers, in milliseconds: each is work, and the daemon needs the processor. */
const LOOK_AGAIN_MS = 100;

/** Keeps a daemon running, as a service manager does: whenever it ends, it is started again. */
export class DaemonKeeper {
  readonly client: DaemonClient;
  readonly #home: string;
  readonly #logPath: string;
  #child: ChildProcess | undefined;
  #stopping = false;
  /** When the present one was started. */
  #started = 0;
  #running: Promise<void> = Promise.resolve();
  /** Longest time a daemon took from its start to its first answer, in milliseconds. */
  slowestStartMs = 0;

  constructor(home: string) {
    this.#home = home;
    this.#logPath = join(home, "logs/crash-daemon.log");
    this.client = new DaemonClient(join(home, "kiln.sock"));
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const started = performance.now();
    this.#started = started;
    await using log = await open(this.#logPath, "a", 0o600);
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", CLI_MAIN, "serve"], {
      env: { ...process.env, KILN_HOME: this.#home, KILN_TEST_MARK: TEST_MARK.split("=")[1] },
      stdio: ["ignore", log.fd, log.fd],
      detached: true,
    });
    this.#child = child;
    const ended = once(child, "exit");
    this.#running = ended.then(async () => {
      if (!this.#stopping) await this.start();
    });
    this.#running.catch(() => undefined); // `back` tells.
    for (;;) {
      const answer = await this.client.send("GET", "/healthz");
      if (!answer.lost && answer.status === 200) break;
      // Killed before it was ready: the next one is on its way.
      if (child.exitCode !== null || child.signalCode !== null) return;
      assert.ok(
        performance.now() - started < BACK_MS,
        `the daemon does not come back: ${await this.lastWords()}`,
      );
      await delay(LOOK_AGAIN_MS);
    }
    this.slowestStartMs = Math.max(this.slowestStartMs, performance.now() - started);
  }

  /** Waits until a daemon answers. */
  async back(): Promise<void> {
    const asked = performance.now();
    for (;;) {
      const answer = await this.client.send("GET", "/healthz");
      if (!answer.lost && answer.status === 200) return;
      const waited = performance.now() - Math.max(asked, this.#started);
      assert.ok(waited < BACK_MS, `the daemon does not come back: ${await this.lastWords()}`);
      await delay(LOOK_AGAIN_MS);
    }
  }

  /** Ends the daemon as a service manager does. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 30_000);
    const [code, signal] = await ended;
    clearTimeout(late);
    assert.equal(`${code} ${signal}`, "0 null", `the daemon did not end in order: ${await this.lastWords()}`);
  }

  async lastWords(): Promise<string> {
    return (await readFile(this.#logPath, "utf8").catch(() => "")).slice(-1500);
  }
}
