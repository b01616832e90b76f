import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type DaemonHome, openDaemonHome } from "../support/daemon-home.ts";
import { type CliResult, finish, kiln, startKiln } from "../support/kiln.ts";

const SERVER =
  "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=18123, bind='127.0.0.1')";

describe("commands for sandboxes that stay", { timeout: 600_000 }, () => {
  let daemon: DaemonHome;
  let id: string;
  let scratch: string;

  before(async () => {
    daemon = await openDaemonHome();
    scratch = await mkdtemp(join(tmpdir(), "kiln-cli-"));
    const words = [
      "create",
      "--timeout",
      "1h",
      "--on-timeout",
      "pause",
      "-m",
      "job=42",
      "-e",
      "GREETING=hi",
      "python",
    ];
    id = (await ok(...words)).stdout.trim();
    assert.match(id, /^[a-z][a-z0-9]{11}$/);
  });
  after(async () => {
    await rm(scratch, { recursive: true, force: true });
    await daemon[Symbol.asyncDispose]();
  });

  const run = (args: readonly string[], input?: string) =>
    kiln(args, { home: daemon.home, ...(input === undefined ? {} : { input }) });
  async function ok(...args: string[]): Promise<CliResult> {
    const result = await run(args);
    assert.equal(result.code, 0, `kiln ${args.join(" ")}: ${result.stderr}`);
    return result;
  }
  const json = async (...args: string[]) => JSON.parse((await ok(...args, "--json")).stdout);

  test("ls shows a table, JSON or ids, and filters", async () => {
    const { stdout } = await ok("ls");
    assert.match(stdout, /^ID +TEMPLATE +STATE .*\n/);
    assert.match(stdout, new RegExp(`^${id} +python +running +2 .*pause.*job=42$`, "m"));
    assert.ok(!stdout.includes("\u001b"), "no colours where nobody sees them");
    const [info] = await json("ls", "-m", "job=42");
    assert.deepEqual([info.id, info.metadata], [id, { job: "42" }]);
    assert.equal((await ok("ls", "-q", "--state", "paused")).stdout, "");
    assert.equal((await run(["ls", "--state", "sleepy"])).code, 2);
  });

  test("exec passes streams, exit codes, variables and short ids", async () => {
    const script = 'tr a-z A-Z; echo "$GREETING" >&2; exit 42';
    const result = await run(["exec", id.slice(0, 6), "--", "sh", "-c", script], "shout\n");
    assert.deepEqual([result.stdout, result.stderr, result.code], ["SHOUT\n", "hi\n", 42]);
    assert.equal((await run(["exec", id, "sh", "-c", "kill -TERM $$"])).code, 143);
    assert.equal((await run(["exec", "--timeout", "300ms", id, "sleep", "60"])).code, 124);
    assert.equal((await run(["exec", "nosuchsandbx", "true"])).code, 3);
  });

  test("a detached process is listed, logged, attached to, and left alone", async () => {
    const script =
      "echo begun; echo problem >&2; until test -e /tmp/go; do sleep 0.1; done; echo over; exit 5";
    const processId = (await ok("exec", "-d", id, "--", "sh", "-c", script)).stdout.trim();
    const rows: { id: string; state: string }[] = await json("ps", id);
    assert.equal(rows.find((row) => row.id === processId)?.state, "running");
    const logs = await ok("logs", id, processId.slice(0, 8));
    assert.deepEqual([logs.stdout, logs.stderr], ["begun\n", "problem\n"]);
    const leaving = startKiln(["attach", id, processId], { home: daemon.home });
    const left = finish(leaving);
    await once(leaving.stdout ?? leaving, "data");
    leaving.kill("SIGINT");
    const { code, stderr } = await left;
    assert.equal(code, 0);
    assert.match(stderr, /runs on/);
    await ok("exec", id, "touch", "/tmp/go");
    const attached = await run(["attach", id, processId]);
    assert.deepEqual([attached.stdout, attached.code], ["begun\nover\n", 5]);
    const followed = await ok("logs", "-f", id, processId);
    assert.equal(followed.stdout, "begun\nover\n");
  });

  test("cp copies files and directories both ways, and standard streams", async () => {
    const tree = join(scratch, "tree");
    await mkdir(join(tree, "deep"), { recursive: true });
    await writeFile(join(tree, "deep/file"), Buffer.alloc(300_000, "abc"), { mode: 0o640 });
    await writeFile(join(tree, "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
    await symlink("deep/file", join(tree, "link"));
    await ok("cp", tree, `${id}:/tmp/`);
    await ok("cp", join(tree, "run.sh"), `${id}:/tmp/renamed.sh`);
    const listing = await ok(
      "exec",
      id,
      "sh",
      "-c",
      "cd /tmp; stat -c '%a %F %n' tree/run.sh tree/link renamed.sh",
    );
    assert.equal(
      listing.stdout,
      "755 regular file tree/run.sh\n777 symbolic link tree/link\n755 regular file renamed.sh\n",
    );
    await ok("cp", `${id}:/tmp/tree`, join(scratch, "back"));
    assert.deepEqual(
      await readFile(join(scratch, "back/deep/file")),
      await readFile(join(tree, "deep/file")),
    );
    assert.equal(await readlink(join(scratch, "back/link")), "deep/file");
    assert.equal((await stat(join(scratch, "back/run.sh"))).mode & 0o777, 0o755);
    await ok("cp", `${id}:/tmp/renamed.sh`, scratch);
    assert.equal(await readFile(join(scratch, "renamed.sh"), "utf8"), "#!/bin/sh\n");
    assert.equal((await run(["cp", "-", `${id}:/tmp/from-stdin`], "typed")).code, 0);
    assert.equal((await ok("cp", `${id}:/tmp/from-stdin`, "-")).stdout, "typed");
    assert.equal((await run(["cp", `${id}:/no/such`, scratch])).code, 3);
    assert.equal((await run(["cp", "a", "b"])).code, 2);
  });

  test("port-forward makes a port of the sandbox one of this machine", async () => {
    await ok("exec", "-d", "-w", "/tmp", id, "python3", "-c", SERVER);
    const forward = startKiln(["port-forward", id, "0:18123"], { home: daemon.home });
    const ended = finish(forward);
    const [line] = (await once(forward.stdout ?? forward, "data")) as [string];
    const address = /^(127\.0\.0\.1:\d+) -> 18123\n/.exec(line)?.[1];
    let answer = "";
    for (let attempt = 0; answer === "" && attempt < 100; attempt++) {
      answer = await fetch(`http://${address}/from-stdin`).then(
        (response) => response.text(),
        () => new Promise((resolve) => setTimeout(() => resolve(""), 100)),
      );
    }
    assert.equal(answer, "typed");
    forward.kill("SIGINT");
    assert.equal((await ended).code, 0);
  });

  test("stats and top measure", async () => {
    const [stats] = await json("stats", id);
    assert.ok(stats.memoryBytes > 0 && stats.processes > 0, JSON.stringify(stats));
    const { stdout } = await ok("top", "-n", "2", "--interval", "200ms");
    assert.equal(stdout.match(/^ID .* CPU$/gm)?.length, 2);
    assert.match(stdout, new RegExp(`^${id} .* %$`, "m"));
  });

  test("pause, resume, fork, snapshot and kill", async () => {
    assert.equal((await ok("pause", id)).stdout, `${id}\n`);
    const paused = await run(["exec", id, "true"]);
    assert.equal(paused.code, 1);
    assert.match(paused.stderr, /hint:/);
    assert.equal((await json("resume", id))[0].state, "running");
    const forks = (await ok("fork", "-n", "2", id)).stdout.trim().split("\n");
    assert.equal(forks.length, 2);
    assert.equal((await ok("exec", forks[1] ?? "", "cat", "/tmp/from-stdin")).stdout, "typed");
    await ok("snapshot", id, "cli-snapshot");
    const fresh = await ok("run", "cli-snapshot", "--", "cat", "/tmp/from-stdin");
    assert.equal(fresh.stdout, "typed");
    assert.match(
      (await run(["snapshot", id, "cli-snapshot"])).stderr,
      /there is a template[\s\S]*kiln template rm/,
    );
    assert.match((await run(["snapshot", id, "python"])).stderr, /there is a template/);
    await ok("template", "rm", "cli-snapshot");
    assert.equal((await ok("kill", ...forks)).stdout, `${forks.join("\n")}\n`);
    assert.deepEqual(await daemon.sandboxes(), [`${id} running`]);
  });

  test("completion knows commands, options, templates and sandboxes", async () => {
    const complete = async (...words: string[]) =>
      (await ok("__complete", ...words)).stdout.split("\n").filter(Boolean);
    assert.ok((await complete("po")).includes("port-forward"));
    assert.ok((await complete("run", "--mem")).includes("--memory"));
    assert.ok((await complete("run", "py")).includes("python"));
    assert.deepEqual(await complete("exec", id.slice(0, 3)), [id]);
    assert.deepEqual(await complete("template", "inspect", "clau"), ["claude-code"]);
    assert.deepEqual(await complete("cp", id.slice(0, 3)), [`${id}:`]);
    for (const shell of ["bash", "zsh", "fish"])
      assert.match((await ok("completion", shell)).stdout, /__complete/);
    assert.equal((await run(["completion", "tcsh"])).code, 2);
  });

  test("--json makes errors JSON as well", async () => {
    const result = await run(["stats", "nosuchsandbx", "--json"]);
    assert.equal(result.code, 3);
    assert.equal(JSON.parse(result.stderr).error.code, "SANDBOX_NOT_FOUND");
  });

  test("nothing is left at the end", async () => {
    await ok("kill", "--all");
    assert.deepEqual(await daemon.sandboxes(), []);
    assert.deepEqual(await daemon.stop(), []);
  });
});
