import assert from "node:assert/strict";
import { readdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { SnapshotFiles } from "@kiln/host/vmm/vmm.ts";
import { openTestHome } from "../support/home.ts";
import { shell, TestMachines } from "./support/machine.ts";

describe("a VM that is saved", { timeout: 600_000 }, () => {
  const resources = new AsyncDisposableStack();
  let machines: TestMachines;

  before(async () => {
    const home = resources.use(await openTestHome());
    machines = resources.use(await TestMachines.open(home));
  });
  after(() => resources.disposeAsync());

  test("goes on from there, in another VM, again and again", async (t) => {
    const { vmm, snapshot } = machines.bootable;
    let { config, disk, diff } = await machines.place();
    let vm = await vmm.restore(config, snapshot.files);
    let generation = machines.firstGeneration;
    let agent = await machines.greet(vm, generation);
    // /dev/shm is memory and nothing else.
    await shell(
      agent,
      "head -c 20000000 /dev/urandom >/dev/shm/noise; sha256sum /dev/shm/noise >/dev/shm/sum; echo 0 >/dev/shm/n",
    );
    const layers: string[] = [];
    for (let round = 1; round <= 3; round++) {
      await shell(
        agent,
        "sha256sum -c /dev/shm/sum; n=$(cat /dev/shm/n); echo $((n + 1)) >/dev/shm/n; echo $n >>/root/rounds; sync",
      );
      const files = await machines.newFiles();
      await agent.freeze();
      await vm.pause();
      const started = performance.now();
      await vm.save(files);
      const { size, blocks } = await stat(files.memory);
      t.diagnostic(
        `saved in ${Math.round(performance.now() - started)} ms, ${Math.round((blocks * 512) / 2 ** 20)} of ${size / 2 ** 20} MiB`,
      );
      agent.close();
      await vm.stop();
      await disk.seal();
      layers.push(diff);
      ({ config, disk, diff } = await machines.place(layers));
      const resumed = performance.now();
      vm = await vmm.restore(config, files);
      generation += 1;
      agent = await machines.greet(vm, generation, false);
      t.diagnostic(`resumed in ${Math.round(performance.now() - resumed)} ms`);
    }
    assert.equal(await shell(agent, "sha256sum -c /dev/shm/sum >/dev/null; cat /dev/shm/n"), "3");
    assert.equal(await shell(agent, "echo $(cat /root/rounds)"), "0 1 2");
    agent.close();
    await vm.stop();
    await disk.discard();
  });

  test("goes on itself, and can be saved again; a save in between goes on from its own time", async () => {
    const { vmm, snapshot } = machines.bootable;
    const first = await machines.place();
    const vm = await vmm.restore(first.config, snapshot.files);
    let generation = machines.firstGeneration;
    const agent = await machines.greet(vm, generation);
    const saves: SnapshotFiles[] = [];
    for (let round = 0; round < 3; round++) {
      // Memory that was written becomes zeros, and other memory is written.
      await shell(
        agent,
        `head -c 5000000 /dev/urandom >/dev/shm/a${round}; rm -f /dev/shm/a${round - 1}; echo ${round} >/dev/shm/n`,
      );
      const files = await machines.newFiles();
      await agent.freeze();
      await vm.save(files);
      saves.push(files);
      await vm.resume();
      generation += 1;
      await agent.handshake({ generation, timeoutMs: 60_000 });
    }
    assert.equal(await shell(agent, "ls /dev/shm | tr '\\n' ' '; cat /dev/shm/n"), "a2 n 2");
    agent.close();
    await vm.stop();
    await first.disk.seal();
    for (const [round, files] of saves.entries()) {
      const { config, disk } = await machines.place([first.diff]);
      const copy = await vmm.restore(config, files);
      const copied = await machines.greet(copy, generation + 1);
      assert.equal(await shell(copied, "ls /dev/shm | tr '\\n' ' '; cat /dev/shm/n"), `a${round} n ${round}`);
      copied.close();
      await copy.stop();
      await disk.discard();
    }
  });

  test("is unharmed when saving fails or is cancelled, and nothing is left of that", async () => {
    const { vmm, snapshot } = machines.bootable;
    const { config, disk } = await machines.place();
    const vm = await vmm.restore(config, snapshot.files);
    const agent = await machines.greet(vm, machines.firstGeneration);
    await agent.freeze();
    const folder = dirname((await machines.newFiles()).memory);
    const files = (name: string) => ({
      memory: join(folder, `${name}-memory`),
      state: join(folder, `${name}-state`),
    });
    await writeFile(files("taken").state, "somebody's");
    await assert.rejects(vm.save(files("taken")), /EEXIST/);
    assert.deepEqual(await readdir(folder), ["taken-state"]);
    const cancelling = new AbortController();
    setTimeout(() => cancelling.abort(), 30);
    await assert.rejects(vm.save(files("cancelled"), cancelling.signal), { code: "CANCELLED" });
    assert.deepEqual(await readdir(folder), ["taken-state"]);
    assert.deepEqual((await readdir(config.directory)).includes("save"), false);
    await vm.save(files("good"));
    await vm.resume();
    await agent.handshake({ generation: machines.firstGeneration + 1, timeoutMs: 60_000 });
    assert.equal(await shell(agent, "echo well"), "well");
    agent.close();
    await vm.stop();
    await disk.discard();
  });
});
