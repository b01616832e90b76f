/** What pausing, forking and timeouts keep, and what they must not share. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { HOLDER_GRACE_MS } from "@kiln/host/server/hold.ts";
import { KilnClient } from "@kiln/sdk";
import type { Sandbox } from "@kiln/sdk/sandbox.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { openTestHome } from "../support/home.ts";
import { processesOf } from "../support/leftovers.ts";

const ROUNDS = 10;
const FORKS = 5;
/** KILN_TEST_FILE_MIB=2048 takes some minutes in software emulation. */
const FILE_MIB = Number(process.env.KILN_TEST_FILE_MIB ?? 384);

/** Counts in memory and writes each number to a file. */
const COUNTER = `
import time
n = 0
with open("/var/tmp/count", "w") as file:
    while True:
        n += 1
        file.write("%d\\n" % n)
        file.flush()
        time.sleep(0.005)
`;

/** Between the answer that there is a sandbox and the connection it lives by. */
const CREATES_AND_DIES = `
import { KilnClient } from "@kiln/sdk";
const client = new KilnClient({ autostart: false });
const sandbox = await client.sandbox({ image: "python", network: "none", held: true });
process.stdout.write(sandbox.id + "\\n");
process.kill(process.pid, "SIGKILL");
`;

describe("a sandbox's life", { timeout: 600_000 }, () => {
  let daemon: DaemonHome;

  before(async () => {
    daemon = await openDaemonHome();
    await daemon.client.build("python");
  });
  after(() => daemon[Symbol.asyncDispose]());

  const create = () => daemon.client.sandbox({ image: "python", network: "none" });

  /** The highest number so far; every one before it is there. */
  async function count(sandbox: Sandbox): Promise<number> {
    if (!(await sandbox.files.exists("/var/tmp/count"))) return 0; // It has only just been started.
    const lines = (await sandbox.files.readText("/var/tmp/count")).split("\n").slice(0, -1);
    for (const [index, line] of lines.entries()) assert.equal(line, `${index + 1}`, "a number is missing");
    return lines.length;
  }

  async function goesOn(sandbox: Sandbox, from: number): Promise<number> {
    for (let attempt = 0; attempt < 200; attempt++) {
      const now = await count(sandbox);
      if (now > from) return now;
      await delay(50);
    }
    assert.fail(`it stands still at ${from}`);
  }

  test(`pause and resume ${ROUNDS} times: not a count and not a byte is lost`, async (context) => {
    await using sandbox = await create();
    const counter = await sandbox.spawn(["python3", "-c", COUNTER]);
    const digest = async () =>
      (await sandbox.exec(["sh", "-c", "cat /var/tmp/blob-* | sha256sum; cat /var/tmp/blob-* | wc -c"]))
        .stdout;
    let [counted, expected] = [0, ""];
    const times = { pause: 0, resume: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      await sandbox.exec(["dd", "if=/dev/urandom", `of=/var/tmp/blob-${round}`, "bs=64k", "count=16"]);
      expected = await digest();
      counted = await goesOn(sandbox, counted);
      const began = performance.now();
      await sandbox.pause();
      times.pause += performance.now() - began;
      const resumed = performance.now();
      await sandbox.resume();
      times.resume += performance.now() - resumed;
      assert.equal(await digest(), expected);
      counted = await goesOn(sandbox, counted);
    }
    assert.match(expected, new RegExp(`\\n${ROUNDS * 1024 * 1024}\\n$`));
    const running = (await sandbox.processes()).find(({ id }) => id === counter.id);
    assert.equal(running?.state, "running");
    context.diagnostic(
      `on average ${(times.pause / ROUNDS).toFixed(0)} ms to pause, ${(times.resume / ROUNDS).toFixed(0)} ms to resume; counted to ${counted}`,
    );
  });

  test(`${FORKS} forks go on from one state, each as a machine of its own`, async () => {
    await using parent = await create();
    await parent.spawn(["python3", "-c", COUNTER]);
    const before = await goesOn(parent, 0);
    const children = await parent.fork(FORKS);
    const machines = [parent, ...children];
    const script =
      "hostname; cat /etc/machine-id; od -An -N16 -tx1 /dev/urandom; cat /proc/sys/kernel/random/uuid";
    const identities = await Promise.all(
      machines.map(async (one) => (await one.exec(["sh", "-c", script])).stdout),
    );
    for (const [line, what] of ["hostname", "machine-id", "urandom", "uuid"].entries()) {
      const values = identities.map((text) => text.split("\n")[line]);
      assert.equal(new Set(values).size, machines.length, `${what}: ${values.join(", ")}`);
    }
    for (const one of machines) assert.ok((await goesOn(one, before)) > before);
    await children[0]?.files.write("/var/tmp/mine", "of one fork");
    for (const one of [parent, ...children.slice(1)])
      assert.equal(await one.files.exists("/var/tmp/mine"), false);
    await Promise.all(children.map((child) => child.kill()));
  });

  test("a timeout ends in a kill or in a pause, as asked; it can be extended", async () => {
    const image = "python";
    const killed = await daemon.client.sandbox({ image, network: "none", timeoutS: 2 });
    const paused = await daemon.client.sandbox({ image, network: "none", timeoutS: 2, onTimeout: "pause" });
    const extended = await daemon.client.sandbox({ image, network: "none", timeoutS: 2 });
    await extended.extendTimeout(600);
    const ends = async (sandbox: Sandbox) => {
      for (let attempt = 0; attempt < 200; attempt++) {
        const state = await sandbox.refresh().then(
          (info) => info.state,
          (error) => error.code,
        );
        if (state !== "running" && state !== "pausing") return state;
        await delay(100);
      }
      return "running";
    };
    assert.equal(await ends(killed), "SANDBOX_NOT_FOUND");
    assert.equal(await ends(paused), "paused");
    assert.equal((await extended.refresh()).state, "running");
    assert.equal((await paused.resume()).state, "running");
    await Promise.all([paused.kill(), extended.kill()]);
  });

  test("a program whose client goes away at whatever moment ends with that", async () => {
    await using sandbox = await create();
    // A socket that is named is used with requests alone, this machine's own daemon with connections for programs.
    using byRequests = new KilnClient({ url: `unix:${daemon.home}/kiln.sock` });
    for (const one of [sandbox, await byRequests.get(sandbox.id)]) {
      for (const ms of [0, 2, 5, 10, 20, 40, 150]) {
        const exec = one.exec(["sleep", "1000"], { signal: AbortSignal.timeout(ms) });
        await assert.rejects(exec, { name: "TimeoutError" });
      }
      const running = async () =>
        (await sandbox.processes()).filter(({ state }) => state === "running").length;
      for (let attempt = 0; attempt < 100 && (await running()) > 0; attempt++) await delay(50);
      assert.equal(await running(), 0);
      assert.equal((await one.exec(["echo", "on"])).stdout, "on\n");
    }
  });

  test("a held sandbox whose client is killed before it holds it ends", async () => {
    const client = spawn(process.execPath, ["--input-type=module", "-e", CREATES_AND_DIES], {
      cwd: import.meta.dirname,
      env: { ...process.env, KILN_HOME: daemon.home },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const id = (await text(client.stdout)).trim();
    assert.equal(client.signalCode ?? (await once(client, "exit"))[1], "SIGKILL");
    assert.deepEqual(await daemon.sandboxes(), [`${id} running`]);
    const deadline = performance.now() + HOLDER_GRACE_MS + 10_000;
    while ((await daemon.sandboxes()).length > 0) {
      assert.ok(performance.now() < deadline, "it lives on");
      await delay(100);
    }
  });

  test("what is built for one engine is not built for another", async () => {
    const created = daemon.client.sandbox({ image: "python", network: "none", engine: "firecracker" });
    const answer = await created.then(
      async (sandbox) => {
        await sandbox.kill();
        return "there is one";
      },
      ({ code }) => code,
    );
    // Where this host has no Firecracker, that is what there is to say.
    assert.ok(["there is one", "HOST_UNSUPPORTED"].includes(answer), answer);
  });

  test("limits of processes and of room on the host hold", async () => {
    await using sandbox = await daemon.client.sandbox({
      image: "python",
      network: "none",
      maxProcesses: 40,
      maxDiskMib: 64,
    });
    const bomb = "for i in $(seq 200); do sleep 30 & done 2>/dev/null; wait";
    await sandbox.spawn(["sh", "-c", bomb]);
    await delay(1_000);
    assert.ok((await sandbox.stats()).processes <= 40, `${(await sandbox.stats()).processes} processes`);
    await sandbox.exec(["sh", "-c", "dd if=/dev/urandom of=/var/tmp/big bs=1M count=200; sync"], {
      timeoutMs: 60_000,
    });
    const { diskBytes } = await sandbox.stats();
    assert.ok(diskBytes <= 64 * 1024 * 1024, `${diskBytes} bytes`);
  });

  test(`a file of ${FILE_MIB} MiB goes up and down with flat memory`, async (context) => {
    await using sandbox = await create();
    const size = FILE_MIB * 1024 ** 2;
    const piece = Buffer.alloc(1024 * 1024, "kiln");
    async function* content() {
      for (let sent = 0; sent < size; sent += piece.length) yield piece;
    }
    const { pid } = await daemon.client.health();
    const peak = async () => {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    };
    const before = await peak();
    const began = performance.now();
    assert.equal((await sandbox.files.write("/var/tmp/big", content())).sizeBytes, size);
    const written = performance.now();
    let received = 0;
    for await (const chunk of await sandbox.files.readStream("/var/tmp/big")) received += chunk.length;
    assert.equal(received, size);
    const grown = (await peak()) - before;
    const rate = (ms: number) => `${(size / 1e6 / (ms / 1000)).toFixed(0)} MB/s`;
    context.diagnostic(
      `up ${rate(written - began)}, down ${rate(performance.now() - written)}; the daemon's peak grew by ${grown.toFixed(0)} MiB`,
    );
    assert.ok(grown < 256, `the daemon's memory grew by ${grown} MiB`);
  });
});

test("what becomes a VMM waits in a daemon before anybody asks for one", { timeout: 300_000 }, async () => {
  await using home = await openTestHome();
  {
    await using first = await openDaemonHome(home.root);
    await first.client.build("python");
  }
  await using _daemon = await openDaemonHome(home.root);
  const launchers = async () => {
    const processes = [...(await processesOf(home.root)).values()];
    return processes.filter((process) => process.startsWith("launcher.pl: ")).length;
  };
  for (let attempt = 0; attempt < 200 && (await launchers()) < 2; attempt++) await delay(50);
  assert.equal(await launchers(), 2);
});
