import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Disk, DiskService } from "../block/disk-service.ts";
import { KilnError } from "../errors.ts";
import { GuestAgent } from "../guest/agent.ts";
import { makeIdentity } from "../guest/identity.ts";
import type { KilnHome } from "../home.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { Vm, VmConfig } from "../vmm/vmm.ts";
import type { Engines } from "./engine.ts";
import { usableFiles } from "./lazy-memory.ts";
import type { SandboxRecord } from "./sandbox-record.ts";
import { STARTS } from "./starts.ts";

/** How long the agent of a resumed guest may take to answer, in milliseconds. */
const RESUME_TIMEOUT_MS = 60_000;

/** What a sandbox that runs consists of. */
export interface LiveVm {
  vm: Vm;
  agent: GuestAgent;
  disk: Disk;
}

export interface LiveContext {
  home: KilnHome;
  disks: DiskService;
  networks: NetworkService;
  engines: Engines;
}

/** Where a sandbox's VM has its sockets and its log. */
export const vmFolder = (home: KilnHome, id: string): string => join(home.sandbox(id), "vm");

/** A sandbox's disk as the block server knows it. */
export function diskOptions(home: KilnHome, { id, disk, maxDiskMib }: SandboxRecord) {
  return {
    id,
    exportName: disk.exportName,
    base: join(home.root, disk.base),
    layers: disk.layers.map((layer) => join(home.root, layer)),
    diff: join(home.root, disk.diff),
    sizeBytes: disk.sizeBytes,
    ...(maxDiskMib === undefined ? {} : { maxDiffBytes: maxDiskMib * 1024 * 1024 }),
    durability: "process" as const,
  };
}

function vmConfig(home: KilnHome, record: SandboxRecord, disk: Disk): VmConfig {
  return {
    directory: vmFolder(home, record.id),
    vcpu: record.vcpu,
    memoryMib: record.memoryMib,
    kernel: {
      vmlinuz: join(home.root, record.kernel.vmlinuz),
      initrd: join(home.root, record.kernel.initrd),
    },
    disk: disk.nbd,
    detached: true,
  };
}

function agentOf(vm: Vm): GuestAgent {
  return new GuestAgent(vm.agent, async () => {
    const { reason } = await vm.exited;
    return new KilnError("VM_FAILED", `the sandbox's VM is gone: ${reason}`);
  });
}

/**
 * Starts the VM of `record` from the memory and state it names, on its disk. Returns when the VM runs and the agent was
 * greeted; the agent need not have answered yet, what is asked of it waits its turn.
 */
export async function startVm(
  context: LiveContext,
  record: SandboxRecord,
  signal?: AbortSignal,
): Promise<LiveVm> {
  const { home, disks, engines } = context;
  const folder = vmFolder(home, record.id);
  await using cleanup = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true, mode: 0o700 });
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const disk = await disks.add(diskOptions(home, record));
  cleanup.defer(() => disk.discard());
  const source = join(home.root, record.source.folder);
  const files = await usableFiles({ memory: join(source, "memory"), state: join(source, "state") });
  const vmm = await engines.of(record.engine);
  const endTurn = await STARTS.take(signal);
  cleanup.defer(async () => endTurn());
  const vm = cleanup.use(await vmm.restore(vmConfig(home, record, disk), files, signal));
  await connectVm(context, record, vm);
  const agent = agentOf(vm);
  void greet(agent, record).finally(endTurn);
  cleanup.move();
  return { vm, agent, disk };
}

/** Plugs the guest's link into the network its sandbox may have. One that may reach nothing has its link down. */
export async function connectVm({ networks }: LiveContext, record: SandboxRecord, vm: Vm): Promise<void> {
  const { id, network } = record;
  if (network !== "none") await networks.add({ id, socketPath: vm.networkSocket, policy: network });
}

/** Ends a VM and all it had but its record: nothing of its disk's last diff is left. */
export async function discardVm({ networks }: LiveContext, id: string, { vm, disk }: LiveVm): Promise<void> {
  await vm.stop();
  await Promise.all([networks.remove(id), disk.discard()]);
}

/**
 * Tells the agent of a VM who it is; resolves when it knows, or when it is clear that it never will, which shows in everything that is
 * asked of it.
 */
export async function greet(agent: GuestAgent, record: SandboxRecord): Promise<void> {
  const { id, machineId, maxProcesses } = record;
  const identity = { ...makeIdentity(id, { maxProcesses }), machineId };
  const generation = record.source.generation + 1;
  try {
    await agent.handshake({ generation, identity, timeoutMs: RESUME_TIMEOUT_MS });
  } catch (error) {
    agent.fail(error instanceof KilnError ? error : new KilnError("VM_FAILED", String(error)));
  }
}

/** Takes up the VM of `record` that a former daemon left running. @throws KilnError when it is gone. */
export async function adoptVm({ home, disks, engines }: LiveContext, record: SandboxRecord): Promise<LiveVm> {
  if (record.process === undefined) throw new KilnError("VM_FAILED", "its VM was never seen running");
  await using cleanup = new AsyncDisposableStack();
  const disk = await disks.adopt(diskOptions(home, record));
  cleanup.defer(() => disk.discard());
  const vmm = await engines.of(record.engine);
  const vm = cleanup.use(await vmm.adopt(vmConfig(home, record, disk), record.process));
  await vm.resume(); // It stands still when the daemon died while it was being saved.
  const agent = agentOf(vm);
  await agent.handshake({ generation: record.source.generation + 1, timeoutMs: RESUME_TIMEOUT_MS });
  cleanup.move();
  return { vm, agent, disk };
}
