import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { Isolation } from "@kiln/host/vmm/jail/isolation.ts";
import { readProbe } from "@kiln/host/vmm/qemu/probe.ts";
import { opensMemoryReadOnly } from "@kiln/host/vmm/qemu/view.ts";
import type { Vm, VmConfig } from "@kiln/host/vmm/vmm.ts";
import { openTestHome } from "../support/home.ts";
import { shell, TestMachines } from "./support/machine.ts";

describe("QEMUs of two VMs that run", { timeout: 600_000 }, () => {
  const resources = new AsyncDisposableStack();
  let machines: TestMachines;
  let isolation: Isolation;
  let version: string;
  let vms: { vm: Vm; config: VmConfig }[];

  before(async () => {
    const home = resources.use(await openTestHome());
    machines = resources.use(await TestMachines.open(home));
    const probe = readProbe(home.probe("qemu"));
    assert.ok(probe);
    ({ isolation, version } = probe);
    vms = await Promise.all(
      [await machines.place(), await machines.place()].map(async ({ config }) => ({
        vm: resources.use(await machines.bootable.vmm.restore(config, machines.bootable.snapshot.files)),
        config,
      })),
    );
  });
  after(() => resources.disposeAsync());

  const status = async (vm: Vm, field: string) =>
    new RegExp(`^${field}:\\s+(.*)$`, "m").exec(await readFile(`/proc/${vm.pid}/status`, "utf8"))?.[1];

  test("have no rights, no way to get any, and a system call filter", async () => {
    for (const { vm } of vms) {
      assert.equal(await status(vm, "NoNewPrivs"), "1");
      assert.equal(await status(vm, "Seccomp"), "2");
      if (!isolation.ownView) continue;
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
        assert.equal(await status(vm, set), "0000000000000000", set);
      }
    }
  });

  test("are users of their own, in no group", async (t) => {
    if (!isolation.ownUser) return t.skip(isolation.reason);
    const ids = await Promise.all(vms.map(({ vm }) => status(vm, "Uid")));
    assert.notEqual(ids[0], ids[1]);
    for (const [index, { vm }] of vms.entries()) {
      const uid = Number(ids[index]?.split("\t")[0]);
      assert.ok(uid >= 0x7000_0000 && uid < 0x7100_0000, String(uid));
      assert.equal(/^Groups:(.*)$/m.exec(await readFile(`/proc/${vm.pid}/status`, "utf8"))?.[1]?.trim(), "");
    }
    return undefined;
  });

  test("see their own files, no others and no network", async (t) => {
    if (!isolation.ownView) return t.skip(isolation.reason);
    for (const { vm } of vms) {
      const root = `/proc/${vm.pid}/root`;
      assert.deepEqual(
        (await readdir(root)).filter((name) => !["bin", "sbin", "lib", "lib64"].includes(name)).sort(),
        ["dev", "etc", "memory", "nbd", "usr", "vm"],
      );
      assert.deepEqual(await readdir(`${root}/etc`), ["ld.so.cache"]);
      assert.deepEqual(
        await readdir(`${root}/nbd`),
        ["sock"],
        "it sees more of the block server than its disks",
      );
      const links = (await readFile(`/proc/${vm.pid}/net/dev`, "utf8")).trim().split("\n").slice(2);
      assert.deepEqual(
        links.map((line) => line.trim().split(":")[0]),
        ["lo"],
      );
    }
    return undefined;
  });

  test("cannot reach one another, nor the host's files and servers, as whoever took one over", async (t) => {
    if (!isolation.ownUser) return t.skip(isolation.reason);
    const [mine, other] = vms;
    assert.ok(mine && other);
    const uid = (await status(mine.vm, "Uid"))?.split("\t")[0] ?? "";
    /** Runs a command as the first VM's user in the first VM's view. */
    const inside = async (script: string) => {
      const enter = [
        "--target",
        String(mine.vm.pid),
        "--mount",
        "--root",
        "--wd=/",
        "--setuid",
        uid,
        "--setgid",
        uid,
      ];
      const { stdout } = await promisify(execFile)("nsenter", [...enter, "/usr/bin/sh", "-c", script]);
      return stdout.trim();
    };
    const can = (what: string) => inside(`if ${what}; then echo yes; else echo no; fi`);
    assert.equal(await can("test -r /memory"), "yes", "the test does not see what QEMU sees");
    assert.equal(await can("test -w /nbd/sock"), "yes");
    assert.equal(await can("test -w /vm/agent"), "yes");
    assert.equal(await can(`ls ${other.config.directory}`), "no");
    assert.equal(await can("touch /vm/new"), "no");
    assert.equal(await can("rm -f /vm/qmp"), "no");
    assert.equal(await can("touch /usr/new"), "no");
    assert.equal(await can("ls /root"), "no");
    if (opensMemoryReadOnly(version)) assert.equal(await can("test -w /memory"), "no");
    else t.diagnostic(`QEMU ${version} opens its memory file for writing`);
    // The same user outside of that view is kept out by the folders.
    const outside = ["--reuid", uid, "--regid", uid, "--clear-groups", "ls", mine.config.directory];
    await assert.rejects(promisify(execFile)("setpriv", outside), /Permission denied/);
    return undefined;
  });

  test("have a guest that works, and a disk that survives its server", async () => {
    const [mine] = vms;
    assert.ok(mine);
    const agent = await machines.greet(mine.vm, machines.firstGeneration);
    assert.equal(await shell(agent, "echo before >/root/file; sync; cat /root/file"), "before");
    process.kill(await machines.disks.pid(), "SIGKILL");
    const started = performance.now();
    const write =
      "echo after >>/root/file; dd if=/dev/zero of=/root/zeros bs=1M count=1 conv=fsync 2>/dev/null";
    assert.equal(
      await shell(agent, `${write}; echo 3 >/proc/sys/vm/drop_caches; echo $(cat /root/file)`),
      "before after",
    );
    // QEMU tries for half a minute to connect again and gives up then.
    assert.ok(performance.now() - started < 20_000, "its disk came back too late, or not at all");
    agent.close();
  });
});
