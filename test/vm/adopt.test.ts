import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { KilnError } from "@kiln/host/errors.ts";
import { isAlive } from "@kiln/host/os/process-id.ts";
import { adoptQemu } from "@kiln/host/vmm/qemu/adopt.ts";
import type { VmConfig } from "@kiln/host/vmm/vmm.ts";
import { openTestHome } from "../support/home.ts";
import { shell, TestMachines } from "./support/machine.ts";

const CHILD = join(import.meta.dirname, "support/vm-child.ts");

describe("a VM that outlives its starter", { timeout: 600_000 }, () => {
  const resources = new AsyncDisposableStack();
  let machines: TestMachines;

  before(async () => {
    const home = resources.use(await openTestHome());
    machines = resources.use(await TestMachines.open(home));
  });
  after(() => resources.disposeAsync());

  /** Starts a VM in a process of its own. */
  async function startElsewhere(config: VmConfig): Promise<{ starter: ChildProcess; id: string }> {
    const { vmm, snapshot } = machines.bootable;
    const args = [config, snapshot.files].map((value) => JSON.stringify(value));
    const starter = spawn(process.execPath, [CHILD, machines.home.root, vmm.engine, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = (await once(starter.stdout.setEncoding("utf8"), "data")) as [string];
    return { starter, id: line.trim() };
  }

  async function killHard(child: ChildProcess): Promise<void> {
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  test("is adopted after kill -9 of that one, and after that of the next", async () => {
    const { vmm } = machines.bootable;
    const { config, disk } = await machines.place();
    const { starter, id } = await startElsewhere(config);
    await killHard(starter);
    assert.ok(isAlive(id), "it went with its starter");
    {
      const vm = await vmm.adopt(config, id);
      assert.equal(vm.processId, id);
      const agent = await machines.greet(vm, machines.firstGeneration);
      assert.equal(await shell(agent, "echo kept >/root/note; echo one"), "one");
      agent.close();
      await vm.release();
      assert.ok(isAlive(id), "it was released and is gone");
    }
    const vm = await vmm.adopt(config, id);
    await vm.pause();
    await vm.resume();
    const agent = await machines.greet(vm, machines.firstGeneration + 1, false);
    assert.equal(await shell(agent, "cat /root/note"), "kept");
    agent.close();
    await vm.stop();
    assert.deepEqual({ ...(await vm.exited), reason: "" }, { expected: true, reason: "" });
    assert.equal(isAlive(id), false);
    await disk.discard();
  });

  test("that ends by itself is known to have, and cannot be adopted", async () => {
    const { vmm } = machines.bootable;
    const { config, disk } = await machines.place();
    const { starter, id } = await startElsewhere(config);
    await killHard(starter);
    const vm = await vmm.adopt(config, id);
    process.kill(vm.pid, "SIGKILL");
    assert.equal((await vm.exited).expected, false);
    assert.equal(isAlive(id), false);
    await assert.rejects(
      vmm.adopt(config, id),
      (error) => error instanceof KilnError && error.code === "VM_FAILED",
    );
    await disk.discard();
  });

  test("that does not answer is ended", async () => {
    const { vmm } = machines.bootable;
    const { config, disk } = await machines.place();
    const { starter, id } = await startElsewhere(config);
    await killHard(starter);
    process.kill(Number.parseInt(id, 10), "SIGSTOP");
    const adopted = vmm.engine === "qemu" ? adoptQemu(config, id, undefined, 2_000) : vmm.adopt(config, id);
    await assert.rejects(adopted, /did not answer and was ended/);
    assert.equal(isAlive(id), false);
    await disk.discard();
  });

  test("that belongs to nobody is found by its folder and ended, and no other", async () => {
    const { vmm } = machines.bootable;
    const places = [await machines.place(), await machines.place()] as const;
    const vms = await Promise.all(
      places.map(({ config }) => vmm.restore(config, machines.bootable.snapshot.files)),
    );
    const [first, second] = vms.map((vm) => vm.processId);
    await vmm.killOthers(machines.directory, [
      places[1].config.directory.slice(machines.directory.length + 1),
    ]);
    assert.equal(isAlive(first ?? ""), false);
    assert.equal(isAlive(second ?? ""), true);
    await vmm.kill(places[1].config.directory);
    assert.equal(isAlive(second ?? ""), false);
    for (const { disk } of places) await disk.discard();
  });

  test("that is not detached goes with its starter", async () => {
    const { config, disk } = await machines.place();
    const { starter, id } = await startElsewhere({ ...config, detached: false });
    await killHard(starter);
    const deadline = performance.now() + 10_000;
    while (isAlive(id)) assert.ok(performance.now() < deadline, "it is still there");
    await disk.discard();
  });
});
