import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { COMMANDS } from "../../packages/cli/src/command-table.ts";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { finish, kiln, startKiln } from "../support/kiln.ts";

describe("kiln template", { timeout: 1_200_000 }, () => {
  let daemon: DaemonHome;
  let home: string;
  let spec: string;

  before(async () => {
    daemon = await openDaemonHome();
    home = daemon.home;
    spec = join(home, "cli-test.json");
    await writeFile(
      spec,
      JSON.stringify({
        name: "cli-test",
        env: { GREETING: 'say "hi"\n$HOME' },
        setup_commands: ["echo made > /made"],
        memory_mib: 256,
        vcpu: 1,
        checks: ["test -f /made"],
      }),
    );
  });
  after(() => daemon[Symbol.asyncDispose]());

  const json = async (...args: string[]) => {
    const result = await kiln(["template", ...args], { home });
    assert.equal(result.code, 0, result.stderr);
    return JSON.parse(result.stdout);
  };

  test("build makes a template that is then known by its name, and costs nothing the second time", async () => {
    const first = await json("build", spec, "--json");
    assert.deepEqual([first.name, first.built], ["cli-test", true]);
    const made = await json("inspect", "cli-test");
    const second = await json("build", "cli-test", "--json");
    assert.equal(second.built, false);
    assert.deepEqual(await json("inspect", "cli-test"), made);
    const result = await kiln(["run", "cli-test", "--", "sh", "-c", "cat /made; printenv GREETING"], {
      home,
    });
    assert.equal(result.stdout, 'made\nsay "hi"\n$HOME\n', result.stderr);
  });

  test("two builds of one spec at once do the work once", async () => {
    const path = join(home, "twice.json");
    await writeFile(
      path,
      JSON.stringify({ name: "twice", setup_commands: ["date +%N > /when"], memory_mib: 256, vcpu: 1 }),
    );
    const [one, other] = await Promise.all([json("build", path, "--json"), json("build", path, "--json")]);
    assert.deepEqual([one.name, other.name], ["twice", "twice"]);
    assert.equal((await json("inspect", "twice")).snapshots.length, 1);
    await json("rm", "twice", "--json");
  });

  test("ls, inspect and hash say what there is", async () => {
    const rows: { name: string; built: boolean }[] = await json("ls", "--json");
    assert.equal(rows.find(({ name }) => name === "cli-test")?.built, true);
    assert.ok(rows.some(({ name }) => name === "claude-code"));
    const inspected = await json("inspect", "cli-test");
    assert.match(inspected.rootfs.digest, /^sha256:[0-9a-f]{64}$/);
    assert.equal(inspected.snapshots.length, 1);
    assert.equal((await json("hash", spec, "--json")).hash, inspected.hash);
  });

  test("containerfile prints what Podman is given", async () => {
    const { stdout } = await kiln(["template", "containerfile", spec], { home });
    assert.match(stdout, /^FROM docker\.io\/library\/debian:bookworm-slim$/m);
    assert.match(stdout, /^RUN .*echo made > \/made/m);
  });

  test("a failing step and a failing check say what happened", async () => {
    const step = join(home, "step.json");
    await writeFile(step, JSON.stringify({ name: "step", setup_commands: ["echo about to fail; exit 3"] }));
    const failed = await kiln(["template", "build", step], { home });
    assert.equal(failed.code, 5);
    assert.match(failed.stderr, /about to fail/);
    assert.match(failed.stderr, /exit (code|status) 3|with 3/);
    const check = join(home, "check.json");
    await writeFile(
      check,
      JSON.stringify({ name: "check", memory_mib: 256, vcpu: 1, checks: ["echo looked; false"] }),
    );
    const unchecked = await kiln(["template", "build", check], { home });
    assert.equal(unchecked.code, 5);
    assert.match(unchecked.stderr, /check failed[\s\S]*looked/);
  });

  test("Ctrl-C stops a build and leaves nothing, and the next build works", async () => {
    const path = join(home, "slow.json");
    await writeFile(path, JSON.stringify({ name: "slow", setup_commands: ["echo started; sleep 300"] }));
    const child = startKiln(["template", "build", path], { home });
    const ended = finish(child);
    for await (const line of createInterface({ input: child.stderr ?? Readable.from([]) })) {
      if (line.includes("image slow")) break;
    }
    await delay(1_000); // Into the step, or just before it: both have to stop.
    // A terminal signals every process of the foreground group.
    process.kill(-(child.pid ?? Number.NaN), "SIGINT");
    const result = await ended;
    assert.equal(result.code, 130, result.stderr);
    assert.equal((await daemon.client.builds.list()).at(-1)?.state, "cancelled");
    await writeFile(
      path,
      JSON.stringify({ name: "slow", setup_commands: ["echo started"], memory_mib: 256, vcpu: 1 }),
    );
    await json("build", path, "--json");
    await json("rm", "slow", "--json");
  });

  test("build ls and logs tell of builds that are over", async () => {
    const { stdout } = await kiln(["build", "ls"], { home });
    assert.match(stdout, /^ID +TEMPLATE +STATE .*\n/);
    assert.match(stdout, / +slow +cancelled /);
    const last = await kiln(["build", "logs"], { home });
    assert.equal(last.code, 0, last.stderr);
    assert.match(last.stderr, /snapshot: done in/);
    assert.equal((await kiln(["build", "logs", "nosuch"], { home })).code, 3);
    assert.equal((await kiln(["build", "cancel", "nosuch"], { home })).code, 3);
  });

  test("rm removes the template and what was built from it", async () => {
    const [removed] = await json("rm", "cli-test", "--json");
    assert.deepEqual(removed, { name: "cli-test", source: "user", built: true });
    assert.equal((await kiln(["template", "inspect", "cli-test"], { home })).code, 3);
    assert.equal((await kiln(["template", "rm", "cli-test"], { home })).code, 3);
  });

  test("doctor knows what works here", async () => {
    const result = await kiln(["doctor", "--json"], { home });
    const report: { healthy: boolean; checks: { name: string; status: string }[] } = JSON.parse(
      result.stdout,
    );
    assert.deepEqual([report.healthy, result.code], [true, 0], result.stdout);
    assert.ok(report.checks.some(({ name }) => name === "accelerator"));
  });

  test("help has examples everywhere", async () => {
    for (const args of [[], ["template"], ["template", "build"], ...COMMANDS.map(({ name }) => [name])]) {
      const { stdout, code } = await kiln([...args, "--help"], { home });
      assert.equal(code, 0, args.join(" "));
      assert.match(stdout, /Examples:/, args.join(" "));
    }
  });

  test("nothing is left when the daemon has ended", async () => {
    assert.deepEqual(await daemon.stop(), []);
  });
});
