import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { GuestAgent } from "../../packages/host/src/guest/agent.ts";
import { makeIdentity } from "../../packages/host/src/guest/identity.ts";
import type { BenchContext } from "../context.ts";
import { interleave } from "../measure/interleave.ts";
import type { Row } from "./row.ts";

const BOOT_TIMEOUT_MS = 120_000;

/** Milliseconds from starting the VMM to the agent's first word, on a disk of its own and without a snapshot. */
async function bootKiln(context: BenchContext, id: string): Promise<number> {
  const { vmm, rootfs, kernel, snapshot } = await context.bootable();
  const { vcpu, memoryMib } = snapshot.manifest.subject;
  const disks = await context.disks();
  const directory = join(await context.folder(), id);
  await mkdir(directory);
  await using cleanup = new AsyncDisposableStack();
  const disk = await disks.add({
    id,
    base: rootfs.path,
    diff: join(directory, "disk"),
    sizeBytes: rootfs.sizeBytes,
  });
  cleanup.defer(() => disk.discard());
  const started = performance.now();
  const files = { memory: join(directory, "memory"), state: join(directory, "state") };
  const config = { directory, vcpu, memoryMib, kernel, disk: disk.nbd };
  const vm = cleanup.use(await vmm.boot(config, files, context.signal));
  const agent = new GuestAgent(vm.agent);
  cleanup.defer(async () => agent.close());
  await agent.handshake({
    generation: 1,
    identity: makeIdentity(id),
    timeoutMs: BOOT_TIMEOUT_MS,
    signal: context.signal,
  });
  return performance.now() - started;
}

export const boot: Row = {
  name: "boot",
  summary: "cold boot: from starting the VMM to the agent's first word, Kiln and the floor in turn",
  defaultRuns: 5,
  async measure(context, runs) {
    const floor = await context.floor();
    let next = 0;
    const { kiln, floor: ofFloor } = await interleave(
      { kiln: () => bootKiln(context, `cold-${next++}`), floor: () => floor.boot() },
      runs,
      context.signal,
    );
    return [
      {
        row: "boot",
        title: "cold boot to the agent's first word, no snapshot",
        unit: "ms",
        series: [
          { label: "kiln", values: kiln },
          { label: "floor", values: ofFloor },
        ],
        ratios: [["kiln", "floor"]],
      },
    ];
  },
};
