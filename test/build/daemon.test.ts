/** Builds of the daemon: the queue, what ends them before their time, and that nothing of that is left. */
import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { KilnHome } from "@kiln/host/home.ts";
import type { Build } from "@kiln/sdk/types.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { openTestHome } from "../support/home.ts";
import { finish, kiln, startKiln } from "../support/kiln.ts";
import { containersOf, marker, processesWith, scratchOf, storeMounts } from "./support.ts";

const PATIENCE_MS = 120_000;

describe("builds of the daemon", { timeout: 600_000 }, () => {
  const resources = new AsyncDisposableStack();
  let home: KilnHome;
  let daemon: DaemonHome;
  const made: string[] = [];

  before(async () => {
    home = resources.use(await openTestHome());
    const config = join(home.root, "config.json");
    const former = await readFile(config, "utf8").catch(() => undefined);
    await writeFile(config, JSON.stringify({ ...JSON.parse(former ?? "{}"), max_builds: 1 }));
    resources.defer(() => (former === undefined ? rm(config) : writeFile(config, former)));
    daemon = await openDaemonHome(home.root);
  });
  after(async () => {
    for (const name of made) await kiln(["template", "rm", name], { home: home.root });
    await daemon[Symbol.asyncDispose]();
    await resources.disposeAsync();
  });

  /** A spec without packages in a file of its own; `mark` makes it unlike any built before. */
  async function write(mark: string, ...commands: string[]): Promise<{ name: string; path: string }> {
    const spec = {
      name: mark,
      memory_mib: 256,
      vcpu: 1,
      setup_commands: [`echo ${mark} > /etc/mark`, ...commands],
    };
    const path = join(home.root, `${mark}.json`);
    await writeFile(path, JSON.stringify(spec));
    made.push(mark);
    return { name: mark, path };
  }

  const spec = async (path: string) => JSON.parse(await readFile(path, "utf8"));
  const cli = (...words: string[]) => kiln(words, { home: home.root });
  const start = async (path: string, options = {}) => daemon.client.builds.start(await spec(path), options);

  /** Waits until `look` gives something. */
  async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = await look();
      if (found) return found;
      if (performance.now() > deadline) assert.fail(`not within two minutes: ${what}`);
      await delay(50);
    }
  }

  const isOver = (id: string) =>
    until(`the end of ${id}`, async () => {
      const build = await daemon.client.builds.get(id);
      return build.finishedAt && build;
    });
  /** A command line that holds `word` is a step's own. */
  const isInStep = (word: string) => until(word, async () => (await processesWith(word)).length > 0);

  async function assertNothingLeft(word: string): Promise<void> {
    assert.deepEqual(await processesWith(word), []);
    assert.deepEqual(await containersOf(home), []);
    assert.deepEqual(await storeMounts(home), []);
    assert.deepEqual(await scratchOf(home), []);
  }

  const digestOf = async (name: string): Promise<string> =>
    JSON.parse((await cli("template", "inspect", name)).stdout).rootfs.digest;
  /** The process of the daemon's build that runs. */
  async function workerOf(): Promise<number> {
    const { pid } = await daemon.client.health();
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
    const workers = await processesWith("server/build-worker.ts");
    const worker = children
      .split(" ")
      .map(Number)
      .find((child) => workers.includes(child));
    return worker ?? assert.fail("no build runs");
  }
  const hasEnded = (pid: number) =>
    readFile(`/proc/${pid}/cmdline`).then(
      () => false,
      () => true,
    );
  const codeOf = ({ error }: Build) => error?.code;

  test("builds wait with their place shown; a killed one and one out of time say so and leave nothing", async () => {
    const [first, second, third] = [marker(), marker(), marker()];
    const killed = await start((await write(first, `sleep 601; : ${first}`)).path);
    await isInStep(`601; : ${first}`);
    const waiting = startKiln(["template", "build", (await write(second)).path], { home: home.root });
    const waited = finish(waiting);
    await until("the second in the queue", async () =>
      (await daemon.client.builds.list()).some(({ queuePosition }) => queuePosition === 1),
    );
    const slow = (await write(third, `seq 1 100; sleep 602; : ${third}`)).path;
    const late = await start(slow, { stepTimeoutS: 15 });
    assert.deepEqual([late.state, late.queuePosition], ["queued", 2]);
    assert.equal((await start(slow)).id, late.id, "the same spec twice is one build");
    assert.match((await cli("build", "ls")).stdout, new RegExp(`${third} +queued \\(2\\) `));

    const second_ = (await daemon.client.builds.list()).find(({ template }) => template === second);
    assert.equal((await cli("build", "cancel", second_?.id ?? "")).code, 0);
    const cancelled = await waited;
    assert.equal(cancelled.code, 130, cancelled.stderr);
    assert.match(cancelled.stderr, /queue: place 1; one build runs at once/);
    assert.equal((await daemon.client.builds.get(late.id)).queuePosition, 1);

    process.kill(await workerOf(), "SIGKILL");
    assert.equal(codeOf(await isOver(killed.id)), "BUILD_INTERRUPTED");
    assert.deepEqual(await processesWith(first), []);
    assert.equal((await cli("build", "logs", killed.id)).code, 11);

    const overdue = await isOver(late.id);
    assert.equal(codeOf(overdue), "BUILD_TIMEOUT");
    assert.match(
      overdue.error?.message ?? "",
      /^step \d+ of \d+ took longer than 15 s and was ended: RUN seq 1 100; sleep/,
    );
    const { command, tail, log, timeout_s } = overdue.error?.details ?? {};
    assert.deepEqual([command, timeout_s], [`RUN seq 1 100; sleep 602; : ${third}`, 15]);
    assert.deepEqual([(tail as string[]).length, (tail as string[]).at(-1)], [40, "100"]);
    assert.match(await readFile(String(log), "utf8"), /\n1\n2\n3\n/);
    assert.equal((await cli("build", "logs", late.id)).code, 10);
    await assertNothingLeft(third);
  });

  test("a registry that does not answer is named", async () => {
    const image = "127.0.0.1:1/none/such:1";
    const path = join(home.root, "unreachable.json");
    await writeFile(path, JSON.stringify({ name: "unreachable", base_image: image }));
    const result = await cli("template", "build", path);
    assert.equal(result.code, 9, result.stderr);
    assert.match(result.stderr, /cannot get the image 127\.0\.0\.1:1\/none\/such:1: .*refused/);
    assert.deepEqual(await scratchOf(home), []);
  });

  test("after kill -9 of the daemon the next one says what became of its build, and nothing runs on", async () => {
    const mark = marker();
    const { path } = await write(mark, `[ -e /etc/mark ] && sleep 603; : ${mark}`);
    const { id } = await start(path);
    await isInStep(`603; : ${mark}`);
    const worker = await workerOf();
    process.kill((await daemon.client.health()).pid, "SIGKILL");
    await until("the end of its processes", async () => (await processesWith(mark)).length === 0);
    await daemon[Symbol.asyncDispose]();
    daemon = await openDaemonHome(home.root);
    const result = await cli("build", "logs", id);
    assert.equal(result.code, 11, result.stderr);
    assert.match(result.stderr, /the daemon ended during the build[\s\S]*hint: built again/);
    await until("the end of its worker", () => hasEnded(worker));
    await until("an empty tmp", async () => (await scratchOf(home)).length === 0);
    await assertNothingLeft(mark);
  });

  test("a build goes on when its client is killed; locked and refreshed it is built anew", async () => {
    const { name, path } = await write(marker(), "date +%s%N > /etc/when; sleep 1");
    const client = startKiln(["template", "build", path], { home: home.root });
    const { id } = await until("the build", async () =>
      (await daemon.client.builds.list()).find(({ template }) => template === name),
    );
    process.kill(client.pid ?? Number.NaN, "SIGKILL");
    const followed = await cli("build", "logs", "-f", id);
    assert.equal(followed.code, 0, followed.stderr);
    assert.equal((await daemon.client.templates.get(name)).built, true);
    const first = await digestOf(name);

    const lock = join(home.root, `${name}.lock.json`);
    await writeFile(lock, (await cli("template", "lock", name)).stdout);
    const locked = await cli("template", "build", "--locked", lock, path);
    assert.equal(locked.code, 0, locked.stderr);
    const ofLock = await daemon.client.templates.get(name);
    assert.deepEqual(ofLock.spec?.lock, JSON.parse(await readFile(lock, "utf8")));
    const again = await daemon.client.build({ ...(await spec(path)), lock: ofLock.spec?.lock });
    assert.equal(again.state, "done");
    const old = JSON.parse(await readFile(lock, "utf8"));

    const refreshed = await cli("template", "build", "--refresh", path);
    assert.equal(refreshed.code, 0, refreshed.stderr);
    assert.notEqual(await digestOf(name), first, "the step that writes the time was run again");
    const fresh = await daemon.client.templates.get(name);
    assert.equal(fresh.spec?.lock, undefined);
    assert.ok(Date.parse(String(fresh.spec?.as_of)) > Date.parse(old.built_at));
    assert.equal((await cli("template", "build", "--refresh", "--locked", lock, path)).code, 2);
  });
});
