import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
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
});
