import { join } from "node:path";
import { Sandbox } from "../../packages/host/src/sandbox/sandbox.ts";
import { interleave } from "../measure/interleave.ts";
import { privateMemory } from "../measure/private-memory.ts";
import type { Row } from "./row.ts";

export const memory: Row = {
  name: "memory",
  summary: "private memory of an idle VM after one exec: QEMU, the block server, the floor's QEMU",
  defaultRuns: 5,
  async measure(context, runs) {
    const bootable = await context.bootable();
    const floor = await context.floor();
    const disks = await context.disks();
    const server = await disks.pid();
    const directory = join(await context.folder(), "m");
    const servers: number[] = [];
    const shares: number[] = [];
    const written = { kiln: [] as number[], floor: [] as number[] };
    const kiln = async () => {
      const before = (await privateMemory(server)).all;
      await using sandbox = await Sandbox.start(bootable, disks, directory, context.signal);
      await sandbox.agent.run({ argv: ["echo", "hi"] });
      const after = (await privateMemory(server)).all;
      servers.push(after);
      shares.push(after - before);
      const found = await privateMemory(sandbox.pid);
      written.kiln.push(found.written);
      return found.all;
    };
    const ofFloor = async () => {
      const created = await floor.create();
      await using vm = created.vm;
      const found = await privateMemory(vm.pid);
      written.floor.push(found.written);
      return found.all;
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
          { label: "kiln QEMU, written to", values: written.kiln.slice(-runs) },
          { label: "kiln block server, whole", values: servers.slice(-runs) },
          { label: "kiln block server, by this VM", values: shares.slice(-runs) },
          { label: "floor QEMU", values: values["floor QEMU"] },
          { label: "floor QEMU, written to", values: written.floor.slice(-runs) },
        ],
        ratios: [
          ["kiln QEMU", "floor QEMU"],
          ["kiln QEMU, written to", "floor QEMU, written to"],
        ],
        notes: [
          "QEMUs of one machine share program, libraries and clean guest memory: what each further VM costs is what is written to",
          "one block server serves all VMs of a process: its whole is paid once",
        ],
      },
    ];
  },
};
