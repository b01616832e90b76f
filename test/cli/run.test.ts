import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { CLI_MAIN, finish, kiln, startKiln } from "../support/kiln.ts";

describe("kiln run", { timeout: 1_200_000 }, () => {
  let daemon: DaemonHome;
  let home: string;

  before(async () => {
    daemon = await openDaemonHome();
    home = daemon.home;
    const built = await kiln(["template", "build", "python"], { home });
    assert.equal(built.code, 0, built.stderr);
  });
  after(() => daemon[Symbol.asyncDispose]());

  /** Sandboxes that are left when those that are being ended are gone. */
  const left = async () => {
    for (let attempt = 0; attempt < 100; attempt++) {
      if ((await daemon.sandboxes()).length === 0) return [];
      await delay(100);
    }
    return daemon.sandboxes();
  };

  const run = (args: readonly string[], input?: string) =>
    kiln(["run", ...args], { home, ...(input === undefined ? {} : { input }) });

  test("prints the command's output alone on standard output", async () => {
    const result = await run(["python", "--", "python3", "-c", "print('hello from a microVM')"]);
    assert.deepEqual([result.stdout, result.stderr, result.code], ["hello from a microVM\n", "", 0]);
  });

  test("passes standard input, error output and the exit code through", async () => {
    const result = await run(["python", "sh", "-c", "tr a-z A-Z; echo oops >&2; exit 42"], "shout\n");
    assert.deepEqual([result.stdout, result.stderr, result.code], ["SHOUT\n", "oops\n", 42]);
  });

  test("reports a signal as a shell does", async () => {
    assert.equal((await run(["python", "sh", "-c", "kill -TERM $$"])).code, 128 + 15);
  });

  test("takes environment, directory, user and time limit", async () => {
    const script = 'echo "$A|$(pwd)|$(id -un)"';
    const result = await run([
      "-e",
      "A=b c=d",
      "-w",
      "/tmp",
      "-u",
      "nobody",
      "python",
      "--",
      "sh",
      "-c",
      script,
    ]);
    assert.equal(result.stdout, "b c=d|/tmp|nobody\n", result.stderr);
    const late = await run(["--timeout", "300ms", "python", "--", "sleep", "100"]);
    assert.equal(late.code, 124);
  });

  test("another size makes another snapshot of the same root file system", async () => {
    const script = "nproc; awk '/MemTotal/ {print $2}' /proc/meminfo";
    const result = await run(["--vcpu", "1", "--memory", "256", "python", "--", "sh", "-c", script]);
    const [processors, kib] = result.stdout.trim().split("\n").map(Number);
    assert.equal(processors, 1, result.stderr);
    assert.ok(kib !== undefined && kib < 256 * 1024 && kib > 128 * 1024, `${kib} KiB`);
    const again = await run(["--vcpu", "1", "--memory", "256", "python", "true"]);
    assert.deepEqual([again.stderr, again.code], ["", 0]);
  });

  test("says what is wrong, what to do, and ends with the code for it", async () => {
    const unknown = await run(["pyhton", "true"]);
    assert.equal(unknown.code, 3);
    assert.match(unknown.stderr, /no template named "pyhton"/);
    assert.match(unknown.stderr, /hint: did you mean "python"\?/);
    assert.equal((await run(["--memory", "lots", "python"])).code, 2);
    assert.equal((await run([])).code, 2);
    const missing = await run(["python", "no-such-program"]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /no-such-program[\s\S]*hint:/);
    const path = join(home, "broken.json");
    await writeFile(path, JSON.stringify({ name: "Bad Name", apt_packages: ["x; rm -rf /"], memori_mib: 5 }));
    const broken = await run([path, "true"]);
    assert.equal(broken.code, 2);
    for (const field of [/name/, /apt_packages/, /memori_mib/]) assert.match(broken.stderr, field);
  });

  test("signals reach the command", async () => {
    const child = startKiln(
      [
        "run",
        "python",
        "--",
        "sh",
        "-c",
        "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.1; done",
      ],
      { home },
    );
    const ended = finish(child);
    await once(child.stdout ?? child, "data");
    child.kill("SIGTERM");
    const result = await ended;
    assert.deepEqual([result.stdout, result.code], ["ready\ngot it\n", 9]);
  });

  test("three interrupts end what ignores them, and leave nothing", async () => {
    const child = startKiln(
      ["run", "python", "--", "sh", "-c", "trap '' INT; echo ready; while :; do sleep 0.1; done"],
      { home },
    );
    const ended = finish(child);
    await once(child.stdout ?? child, "data");
    for (let count = 0; count < 3; count++) {
      child.kill("SIGINT");
      await delay(100);
    }
    assert.equal((await ended).code, 130);
    assert.deepEqual(await left(), []);
  });

  test("a reader that goes away ends the command, as in any pipe", async () => {
    const script = `"$0" "$1" run python -- yes | head -n 2; echo "\${PIPESTATUS[0]}"`;
    const shell = promisify(execFile)("bash", ["-c", script, process.execPath, CLI_MAIN], {
      env: { ...process.env, KILN_HOME: home },
    });
    assert.equal((await shell).stdout, "y\ny\n141\n");
    assert.deepEqual(await left(), []);
  });

  test("a terminal is passed on", async () => {
    const command = `${process.execPath} ${CLI_MAIN} run python -- sh -c 'test -t 0 && test -t 1 && stty size && tty'`;
    const { stdout } = await promisify(execFile)(
      "script",
      ["-qec", `stty rows 31 cols 97; ${command}`, "/dev/null"],
      {
        env: { ...process.env, KILN_HOME: home },
      },
    );
    assert.match(stdout, /31 97\r+\n\/dev\/pts\/\d+/);
  });

  test("kill -9 of a run ends its sandbox", async () => {
    const child = startKiln(["run", "python", "--", "sh", "-c", "echo ready; sleep 300"], { home });
    const ended = finish(child);
    await once(child.stdout ?? child, "data");
    assert.equal((await daemon.sandboxes()).length, 1);
    child.kill("SIGKILL");
    await ended;
    assert.deepEqual(await left(), []);
  });

  test("nothing is left when the daemon has ended as well", async () => {
    assert.deepEqual(await left(), []);
    assert.deepEqual(await daemon.stop(), []);
  });
});
