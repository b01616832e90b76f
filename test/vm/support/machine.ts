import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Disk, DiskService } from "@kiln/host/block/disk-service.ts";
import { GuestAgent } from "@kiln/host/guest/agent.ts";
import { makeIdentity } from "@kiln/host/guest/identity.ts";
import type { KilnHome } from "@kiln/host/home.ts";
import { openOwnedFolder } from "@kiln/host/os/owned-folder.ts";
import type { Bootable } from "@kiln/host/sandbox/sandbox.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import type { SnapshotFiles, Vm, VmConfig } from "@kiln/host/vmm/vmm.ts";
import { prepareUnderTest } from "./under-test.ts";

const HANDSHAKE_TIMEOUT_MS = 60_000;

/** VMs of the python template, below all that makes them sandboxes. */
export class TestMachines implements AsyncDisposable {
  readonly home: KilnHome;
  readonly bootable: Bootable;
  readonly directory: string;
  readonly disks: DiskService;
  readonly #resources: AsyncDisposableStack;
  #count = 0;

  private constructor(
    home: KilnHome,
    bootable: Bootable,
    directory: string,
    disks: DiskService,
    resources: AsyncDisposableStack,
  ) {
    this.home = home;
    this.bootable = bootable;
    this.directory = directory;
    this.disks = disks;
    this.#resources = resources;
  }

  static async open(home: KilnHome): Promise<TestMachines> {
    await using resources = new AsyncDisposableStack();
    const host = resources.use(await SandboxHost.open(home));
    const bootable = await prepareUnderTest(host);
    const folder = resources.use(await openOwnedFolder(home.runs));
    const disks = resources.use(new DiskService(folder.path));
    return new TestMachines(home, bootable, folder.path, disks, resources.move());
  }

  /** A folder and a disk for a VM, on `layers` above the template's. */
  async place(layers: readonly string[] = []): Promise<{ config: VmConfig; disk: Disk; diff: string }> {
    const { rootfs, snapshot, kernel } = this.bootable;
    const id = `vm${++this.#count}`;
    const directory = join(this.directory, id);
    await mkdir(directory, { mode: 0o700 });
    const diff = join(this.directory, `${id}-disk`);
    const disk = await this.disks.add({
      id,
      base: rootfs.path,
      layers: [snapshot.diskLayer, ...layers],
      diff,
      sizeBytes: rootfs.sizeBytes,
      durability: "process",
    });
    const { vcpu, memoryMib } = snapshot.manifest.subject;
    return { config: { directory, vcpu, memoryMib, kernel, disk: disk.nbd, detached: true }, disk, diff };
  }

  /** Files to save a VM to. */
  async newFiles(): Promise<SnapshotFiles> {
    const folder = join(this.directory, `saved${++this.#count}`);
    await mkdir(folder);
    return { memory: join(folder, "memory"), state: join(folder, "state") };
  }

  /** The agent of a VM that goes on from the template or from a save made in `generation` − 1. */
  async greet(vm: Vm, generation: number, newIdentity = true): Promise<GuestAgent> {
    const agent = new GuestAgent(vm.agent);
    await agent.handshake({
      generation,
      timeoutMs: HANDSHAKE_TIMEOUT_MS,
      ...(newIdentity ? { identity: makeIdentity("test") } : {}),
    });
    return agent;
  }

  get firstGeneration(): number {
    return this.bootable.snapshot.manifest.generation + 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bootable.vmm.killOthers(this.directory, []);
    await this.#resources.disposeAsync();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Runs a shell script in the guest and gives what it printed. */
export async function shell(agent: GuestAgent, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await agent.run({ argv: ["/bin/sh", "-c", script] });
  if (exitCode !== 0) throw new Error(`"${script}" ended with ${exitCode}: ${stderr}`);
  return stdout.trim();
}
