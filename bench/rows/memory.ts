import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Sandbox } from "../../packages/host/src/sandbox/sandbox.ts";
import { interleave } from "../measure/interleave.ts";
import type { Row } from "./row.ts";

/** MiB of memory that `pid` shares with nobody: what would be free again if it ended. */
async function privateMib(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (field: string) => {
    const value = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1];
    if (value === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${field}`);
    return Number(value);
  };
  return (kib("Private_Clean") + kib("Private_Dirty")) / 1024;
}

export const memory: Row = {
  name: "memory",
  summary: "private memory of an idle VM after one exec: QEMU, the block server, the floor's QEMU",
  defaultRuns: 5,
  async measure(context, runs) {
    const bootable = await context.bootable();
    const floor = await context.floor();
    const block = await context.blockServer();
    const directory = join(await context.folder(), "m");
    const servers: number[] = [];
    const shares: number[] = [];
    const kiln = async () => {
      const before = await privateMib(block.pid);
      await using sandbox = await Sandbox.start(bootable, block, directory, context.signal);
      await sandbox.agent.run({ argv: ["echo", "hi"] });
      const after = await privateMib(block.pid);
      servers.push(after);
      shares.push(after - before);
      return await privateMib(sandbox.pid); // Before the sandbox goes.
    };
    const ofFloor = async () => {
      const created = await floor.create();
      await using vm = created.vm;
      return await privateMib(vm.pid);
    };
    const values = await interleave({ "kiln QEMU": kiln, "floor QEMU": ofFloor }, runs, context.signal);
    const { memoryMib } = bootable.snapshot.manifest.subject;
    return [
      {
        row: "memory",
        title: `private memory of one idle VM with ${memoryMib} MiB after one echo`,
        unit: "MiB",
        series: [
          { label: "kiln QEMU", values: values["kiln QEMU"] },
          { label: "kiln block server, whole", values: servers.slice(-runs) },
          { label: "kiln block server, by this VM", values: shares.slice(-runs) },
          { label: "floor QEMU", values: values["floor QEMU"] },
        ],
        ratios: [["kiln QEMU", "floor QEMU"]],
        notes: [
          "one block server serves all VMs of a process: its whole is paid once, what one VM adds may be 0",
        ],
      },
    ];
  },
};
