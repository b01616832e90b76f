import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "@kiln/host/errors.ts";
import type { GuestAgent } from "@kiln/host/guest/agent.ts";
import type { Sandbox } from "@kiln/host/sandbox/sandbox.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { openTestHome } from "../support/home.ts";
import { privateMemory } from "../support/memory.ts";
import { prepareUnderTest } from "./support/under-test.ts";

const sh = (script: string) => ["/bin/sh", "-c", script];

describe("exec in a resumed microVM", { timeout: 900_000 }, () => {
  const resources = new AsyncDisposableStack();
  let sandbox: Sandbox;
  let agent: GuestAgent;

  before(async () => {
    const home = resources.use(await openTestHome());
    const host = resources.use(await SandboxHost.open(home));
    sandbox = resources.use(await host.start(await prepareUnderTest(host)));
    agent = sandbox.agent;
  });
  after(() => resources.disposeAsync());

  test("output, error output and exit code come back apart", async () => {
    const result = await agent.run({ argv: sh("echo out; echo err >&2; exit 7") });
    assert.deepEqual(
      [result.stdout, result.stderr, result.exitCode, result.signal],
      ["out\n", "err\n", 7, undefined],
    );
  });

  test("arguments and environment arrive byte for byte", async () => {
    const odd = ["", " ", "a'b\"c", "$HOME", "new\nline", "tab\t", "ünïcödé 🔥", "\\n"];
    const { stdout } = await agent.run({ argv: ["printf", "%s\\0", ...odd] });
    assert.deepEqual(stdout.split("\0").slice(0, -1), odd);
    const value = 'quote" $dollar `tick` \\ new\nline ü';
    assert.equal((await agent.run({ argv: ["printenv", "ODD"], env: { ODD: value } })).stdout, `${value}\n`);
  });

  test("the working directory is the template's, or the one asked for", async () => {
    assert.equal((await agent.run({ argv: ["pwd"] })).stdout, "/workspace\n");
    assert.equal((await agent.run({ argv: ["pwd"], cwd: "/usr/lib" })).stdout, "/usr/lib\n");
    await assert.rejects(agent.run({ argv: ["pwd"], cwd: "/nowhere" }), isGuestError);
  });

  test("a program runs as the user asked for", async () => {
    assert.equal((await agent.run({ argv: ["id", "-un"], user: "nobody" })).stdout, "nobody\n");
    assert.equal((await agent.run({ argv: ["id", "-u"], user: "1234:1234" })).stdout, "1234\n");
    assert.equal((await agent.run({ argv: sh("touch /etc/x"), user: "nobody" })).exitCode, 1);
    await assert.rejects(agent.run({ argv: ["id"], user: "no-such-user" }), isGuestError);
  });

  test("what cannot be started is an error, not an exit code", async () => {
    await assert.rejects(agent.run({ argv: ["no-such-program"] }), isGuestError);
    await assert.rejects(agent.run({ argv: ["/etc/passwd"] }), isGuestError);
  });

  test("standard input reaches the program and ends", async () => {
    const input = Buffer.alloc(3_000_000, "abcdefghij");
    const { stdout } = await agent.run({ argv: ["sha256sum"] }, { input });
    const { createHash } = await import("node:crypto");
    assert.equal(stdout.split(" ")[0], createHash("sha256").update(input).digest("hex"));
    assert.equal((await agent.run({ argv: ["cat"] })).stdout, "", "without input it is /dev/null");
  });

  test("signals reach the whole process group", async () => {
    const process = agent.exec({ argv: sh("sleep 1000 & echo started; wait") });
    const chunks = process.stdout[Symbol.asyncIterator]();
    await chunks.next();
    await process.signal("SIGTERM");
    assert.equal((await process.exited()).signal, "SIGTERM");
    assert.equal(
      (await agent.run({ argv: sh("pgrep -x sleep || cat /proc/[0-9]*/comm | grep -x sleep") })).stdout,
      "",
    );
  });

  test("a timeout kills the group and says so", async () => {
    const started = performance.now();
    const result = await agent.run({ argv: sh("trap '' TERM; sleep 1000"), timeoutMs: 300 });
    assert.ok(result.timedOut);
    assert.equal(result.signal, "SIGKILL");
    assert.ok(performance.now() - started < 10_000);
  });

  test("cancelling kills the program", async () => {
    const abort = new AbortController();
    const running = agent.run({ argv: sh("sleep 1000") }, { signal: abort.signal });
    await delay(200);
    abort.abort();
    await assert.rejects(running, (error) => error instanceof KilnError && error.code === "CANCELLED");
  });

  test("a background process does not hold the result up", async () => {
    const started = performance.now();
    assert.equal((await agent.run({ argv: sh("sleep 30 & echo done") })).stdout, "done\n");
    assert.ok(performance.now() - started < 10_000);
  });

  test("a terminal has the size asked for, learns of a new one, and is the program's own", async () => {
    const script = "stty size; trap 'stty size; exit 0' WINCH; tty; echo ready; while :; do sleep 0.1; done";
    const process = agent.exec({ argv: sh(script), stdin: true, terminal: { rows: 33, columns: 111 } });
    let output = "";
    for await (const chunk of process.stdout) {
      output += chunk.toString();
      if (output.includes("ready") && !output.includes("44 122"))
        await process.resize({ rows: 44, columns: 122 });
    }
    assert.equal((await process.exited()).code, 0);
    assert.match(output, /^33 111\r\n\/dev\/pts\/\d+\r\nready\r\n44 122\r\n$/);
  });

  test("control characters typed at a terminal work", async () => {
    const process = agent.exec({ argv: ["cat"], stdin: true, terminal: { rows: 24, columns: 80 } });
    await process.writeStdin(Buffer.from("hello\n\x03"));
    assert.equal((await process.exited()).signal, "SIGINT");
  });

  test("200 execs in a row come back right", async () => {
    for (let count = 0; count < 200; count++) {
      assert.equal((await agent.run({ argv: ["echo", String(count)] })).stdout, `${count}\n`);
    }
  });

  test("50 execs at once come back right", async () => {
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        agent.run({ argv: sh(`sleep 0.5; echo ${index}; exit ${index}`) }),
      ),
    );
    for (const [index, result] of results.entries()) {
      assert.deepEqual([result.stdout, result.exitCode], [`${index}\n`, index]);
    }
  });

  test("1 GiB of output into a slow reader keeps memory flat on both sides", async () => {
    const total = 1024 ** 3;
    const guestMemory = async () => {
      const { stdout } = await agent.run({
        argv: sh("awk '/^MemAvailable/ {print $2}' /proc/meminfo; awk '/^VmRSS/ {print $2}' /proc/1/status"),
      });
      const [available = 0, resident = 0] = stdout.trim().split("\n").map(Number);
      return { available: available * 1024, resident: resident * 1024 };
    };
    const before = await guestMemory();
    const process_ = agent.exec({ argv: ["head", "-c", String(total), "/dev/zero"] });
    const hostBefore = process.memoryUsage.rss();
    let received = 0;
    let hostPeak = 0;
    let vmPeak = 0;
    let nextLook = 0;
    for await (const chunk of process_.stdout) {
      received += chunk.length;
      if (received >= nextLook) {
        nextLook += total / 64;
        await delay(20); // The slow reader.
        hostPeak = Math.max(hostPeak, process.memoryUsage.rss());
        vmPeak = Math.max(vmPeak, await privateMemory(sandbox.pid));
      }
    }
    assert.equal((await process_.exited()).code, 0);
    assert.equal(received, total);
    const after = await guestMemory();
    const mib = 1024 ** 2;
    assert.ok(hostPeak - hostBefore < 128 * mib, `host grew by ${(hostPeak - hostBefore) / mib} MiB`);
    assert.ok(
      after.resident - before.resident < 8 * mib,
      `agent grew from ${before.resident} to ${after.resident}`,
    );
    assert.ok(
      before.available - after.available < 64 * mib,
      `guest lost ${(before.available - after.available) / mib} MiB`,
    );
    assert.ok(vmPeak < 512 * mib, `VM has ${vmPeak / mib} MiB`);
  });
});

function isGuestError(error: unknown): boolean {
  return error instanceof KilnError && error.code === "GUEST_ERROR";
}
