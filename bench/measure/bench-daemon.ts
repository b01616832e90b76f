import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { KilnHome } from "../../packages/host/src/home.ts";
import { diesWithOwner } from "../../packages/host/src/os/owned-process.ts";
import { KilnClient } from "../../packages/sdk/src/client.ts";
import { PROJECT } from "../project.ts";

const MAIN = join(PROJECT, "packages/cli/src/main.ts");
const PATIENCE_MS = 60_000;
/** What was built for the benchmark is not built again. */
const SHARED = ["artifacts", "rootfs", "snapshots", "templates", "probes"];

/** A daemon of the benchmark's own, with what `home` has built, and with `pool` in its configuration. */
export class BenchDaemon implements AsyncDisposable {
  readonly client: KilnClient;
  readonly #pool: number;
  readonly #release: () => Promise<void>;

  private constructor(client: KilnClient, pool: number, release: () => Promise<void>) {
    this.client = client;
    this.#pool = pool;
    this.#release = release;
  }

  static async start(home: KilnHome, pool: Readonly<Record<string, number>>): Promise<BenchDaemon> {
    await using stack = new AsyncDisposableStack();
    const root = await mkdtemp(join(tmpdir(), "kb-"));
    stack.defer(() => rm(root, { recursive: true, force: true }));
    for (const name of SHARED) await symlink(join(home.root, name), join(root, name));
    await writeFile(join(root, "config.json"), JSON.stringify({ pool }));
    const words = ["--disable-warning=ExperimentalWarning", MAIN, "serve", "--log", join(root, "daemon.log")];
    const [command, args] = diesWithOwner(process.execPath, words);
    const child = spawn(command, args, { env: { ...process.env, KILN_HOME: root }, stdio: "ignore" });
    const ended = once(child, "exit");
    stack.defer(async () => {
      child.kill("SIGTERM");
      await ended;
    });
    const client = stack.adopt(new KilnClient({ home: root, autostart: false }), (one) => one.close());
    const deadline = performance.now() + PATIENCE_MS;
    while (!(await answers(client))) {
      if (performance.now() > deadline || child.exitCode !== null)
        throw new Error("the benchmark's daemon does not answer");
      await delay(50);
    }
    const wanted = Object.values(pool).reduce((sum, count) => sum + count, 0);
    const moved = stack.move();
    return new BenchDaemon(client, wanted, () => moved.disposeAsync());
  }

  /** Waits until every standby VM is there: they are the sandboxes that are being created. */
  async filled(): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const metrics = await this.client.metrics();
      const count = Number(/^kiln_sandboxes\{state="creating"\} (\d+)$/m.exec(metrics)?.[1]);
      if (count >= this.#pool) break;
      if (performance.now() > deadline) throw new Error(`${count} of ${this.#pool} standby VMs came`);
      await delay(50);
    }
    await delay(2000); // The last of them has only just been started, and is exercised.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release();
  }
}

const answers = (client: KilnClient): Promise<boolean> =>
  client.health().then(
    () => true,
    () => false,
  );
