import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Isolation } from "./isolation.ts";
import { type Jail, lockUp, prepareJail, takeBack, type Visible } from "./jail.ts";
import { Launcher } from "./launcher.ts";
import { probeIsolation } from "./probe-isolation.ts";

const SHELL = "/usr/bin/sh";

describe("a program that is locked up", () => {
  let isolation: Isolation;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-jail-test-"));
    isolation = await probeIsolation(SHELL);
  });
  after(() => rm(folder, { recursive: true }));

  /** Runs a script locked up; gives what it said on standard error, which is a file as that of a detached VM. */
  async function run(jail: Jail, script: string): Promise<{ code: number; said: string; bytes: number }> {
    const launcher = await Launcher.start({ ownView: jail.isolation.ownView });
    const path = join(folder, `log-${Math.random()}`);
    await writeFile(path, "");
    const lines = [...lockUp(jail, { memoryMib: 64 }), ["error", path], ["variable", "PATH", "/usr/bin"]];
    launcher.become(lines, [SHELL, ["-c", script]], true);
    const { code } = await launcher.process.ended;
    return { code: code ?? -1, said: await readFile(path, "utf8"), bytes: (await stat(path)).size };
  }

  async function newJail(name: string, visible: Visible[] = [], of: Isolation = isolation): Promise<Jail> {
    const directory = join(folder, name);
    await mkdir(directory, { mode: 0o700 });
    return prepareJail(directory, of, visible);
  }

  test("writes as much as it may and no more, and lives on", async () => {
    for (const [name, of] of [
      ["log-none", { ownUser: false, ownView: false }],
      ["log", isolation],
    ] as const) {
      const { code, said, bytes } = await run(
        await newJail(name, [], of),
        "head -c 1000000 /dev/urandom >&2; exit 7",
      );
      assert.equal(code, 7, `${name}: ${said.slice(0, 200)}`);
      assert.equal(bytes, 128 * 1024, name);
    }
  });

  test("dumps no core and has the limits it was given", async () => {
    const { said } = await run(await newJail("limits"), "ulimit -c >&2; ulimit -n >&2; ulimit -v >&2");
    assert.deepEqual(said.trim().split("\n"), ["0", "256", String((64 + 2048) * 1024)]);
  });

  test("has no rights, and as root's a user id nobody else has", async (t) => {
    if (!isolation.ownView) return t.skip(isolation.reason);
    const jails = [await newJail("rights1"), await newJail("rights2")] as const;
    const [first, second] = await Promise.all(jails.map((jail) => run(jail, "id -u >&2; setpriv -d -d >&2")));
    assert.match(first?.said ?? "", /Effective capabilities: \[none\]/);
    assert.match(first?.said ?? "", /Permitted capabilities: \[none\]/);
    if (!isolation.ownUser) return t.diagnostic(String(isolation.reason));
    const ids = [first, second].map((result) => Number(result?.said.split("\n")[0]));
    assert.deepEqual(
      ids,
      jails.map(({ uid }) => uid),
    );
    assert.notEqual(ids[0], ids[1]);
    assert.ok(ids.every((id) => id >= 0x7000_0000 && id < 0x7100_0000));
    assert.match(first?.said ?? "", /Supplementary groups: \[none\]/);
    return undefined;
  });

  test("sees what it was shown, also by names with spaces, and nothing else of the host", async (t) => {
    if (!isolation.ownView) return t.skip(isolation.reason);
    const source = join(folder, "a file, # and\ttab");
    await writeFile(source, "shown", { mode: 0o644 });
    const jail = await newJail("view", [{ source, target: "/shown", kind: "file" }]);
    const { said } = await run(jail, "cat /shown >&2; echo >&2; cd /; echo * dev/* etc/* vm/* >&2");
    assert.deepEqual(said.trim().split("\n"), [
      "shown",
      "bin dev etc lib lib64 sbin shown usr vm dev/null dev/urandom etc/ld.so.cache vm/*",
    ]);
    const network = await run(
      await newJail("network"),
      "test ! -e /proc && test ! -e /sys && test ! -e /home",
    );
    assert.equal(network.code, 0);
    // Nothing of that is on the host: whoever removes the folder removes nothing else.
    assert.deepEqual(await readdir(jail.directory), []);
  });

  test("can make names in its folder until that is taken back", async (t) => {
    if (!isolation.ownUser) return t.skip(isolation.reason);
    const jail = await newJail("folder");
    assert.equal((await run(jail, "echo 1 >/vm/one")).code, 0);
    await takeBack(jail);
    assert.notEqual((await run(jail, "echo 2 >/vm/two")).code, 0);
    assert.notEqual((await run(jail, "mv /vm/one /vm/three")).code, 0);
    assert.equal((await run(jail, "cat /vm/one >/dev/null")).code, 0);
    assert.ok(!(await readdir(jail.directory)).includes("two"));
  });

  test("fails with a reason when what it should see is not there", async (t) => {
    if (!isolation.ownView) return t.skip(isolation.reason);
    const jail = await newJail("missing", [
      { source: join(folder, "absent"), target: "/absent", kind: "file" },
    ]);
    const { code, said } = await run(jail, "echo ran >&2");
    assert.notEqual(code, 0);
    assert.match(said, /absent/);
    assert.doesNotMatch(said, /ran/);
  });
});
