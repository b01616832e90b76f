import { KilnHome } from "@kiln/host/home.ts";
import { EngineName, lastEngine } from "@kiln/host/vmm/engines.ts";
import type { SnapshotFiles, VmConfig } from "@kiln/host/vmm/vmm.ts";

/** Starts a VM, says which process it is, and waits to be killed. */
const [root = "", name = "", config = "", files = ""] = process.argv.slice(2);
const engine = await lastEngine(EngineName.parse(name), new KilnHome(root).probe);
if (engine === undefined) throw new Error(`nothing is known of ${name} in ${root}`);
const vm = await engine.restore(JSON.parse(config) as VmConfig, JSON.parse(files) as SnapshotFiles);
process.stdout.write(`${vm.processId}\n`);
process.stdin.resume();
