import { readFile } from "node:fs/promises";
import { QemuEngine } from "@kiln/host/vmm/qemu/qemu.ts";
import type { SnapshotFiles, VmConfig } from "@kiln/host/vmm/vmm.ts";

/** Starts a VM, says which process it is, and waits to be killed. */
const [probe = "", config = "", files = ""] = process.argv.slice(2);
const engine = new QemuEngine(JSON.parse(await readFile(probe, "utf8")));
const vm = await engine.restore(JSON.parse(config) as VmConfig, JSON.parse(files) as SnapshotFiles);
process.stdout.write(`${vm.processId}\n`);
process.stdin.resume();
