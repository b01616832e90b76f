import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { cgroupsOf, findCgroups } from "./cgroup-host.ts";
import { Cgroup, sweepCgroups } from "./cgroups.ts";

const MIB = 1024 * 1024;

describe("the control groups of a VM", { timeout: 60_000 }, () => {
  let folder: string;
  let reason: string | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "kiln-cgroup %-"));
    const host = await findCgroups();
    reason = typeof host === "string" ? host : undefined;
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const groupsOf = async (pid: number) =>
    (await cgroupsOf(pid)).filter((group) => basename(group).startsWith("kiln-vm:"));
  const exists = (path: string) =>
    access(path).then(
      () => true,
      () => false,
    );

  /** A process that waits for its input, and then takes memory for ever. */
  const startGreedy = () =>
    spawn("sh", ["-c", "read _ && exec tail /dev/zero"], { stdio: ["pipe", "ignore", "ignore"] });

  test("hold a process to its memory, and go when it is gone", async (t) => {
    if (reason !== undefined) return t.skip(reason);
    const group = await Cgroup.make(folder, { memoryMib: 64, vcpu: 1 });
    const child = startGreedy();
    assert.ok(child.pid);
    await group.add(child.pid);
    const groups = await groupsOf(child.pid);
    assert.ok(groups.length === 1 || groups.length === 3, groups.join());
    const limits = await Promise.all(
      groups.flatMap((path) =>
        ["memory.max", "memory.limit_in_bytes", "pids.max"].map((file) =>
          readFile(join(path, file), "utf8").catch(() => ""),
        ),
      ),
    );
    assert.deepEqual(
      limits
        .map((text) => text.trim())
        .filter((text) => text !== "")
        .sort(),
      ["129", String(64 * MIB)],
    );
    const exited = once(child, "exit");
    child.stdin.write("\n");
    assert.deepEqual(await exited, [null, "SIGKILL"]);
    await group.remove();
    for (const path of groups) assert.equal(await exists(path), false, path);
    return undefined;
  });

  test("are found by another process, and not removed while somebody is in them", async (t) => {
    if (reason !== undefined) return t.skip(reason);
    const child = startGreedy();
    assert.ok(child.pid);
    await (await Cgroup.make(folder, { memoryMib: 64, vcpu: 1 })).add(child.pid);
    const groups = await groupsOf(child.pid);
    const group = await Cgroup.find(folder, child.pid);
    const exited = once(child, "exit");
    setTimeout(() => child.kill("SIGKILL"), 100);
    await group.remove();
    await exited;
    assert.ok(groups.length > 0);
    for (const path of groups) assert.equal(await exists(path), false, path);
    return undefined;
  });

  test("that a killed Kiln has left go with the next sweep, once the VM's folder is gone", async (t) => {
    if (reason !== undefined) return t.skip(reason);
    const gone = await mkdtemp(join(folder, "vm-"));
    const child = startGreedy();
    assert.ok(child.pid);
    await (await Cgroup.make(gone, { memoryMib: 64, vcpu: 1 })).add(child.pid);
    const groups = await groupsOf(child.pid);
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    await sweepCgroups();
    for (const path of groups) assert.ok(await exists(path), "it is in use still");
    await rm(gone, { recursive: true });
    await sweepCgroups();
    for (const path of groups) assert.equal(await exists(path), false, path);
    return undefined;
  });
});
