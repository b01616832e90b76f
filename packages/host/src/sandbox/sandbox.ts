import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { DiskService } from "../block/disk-service.ts";
import type { Rootfs } from "../build/rootfs.ts";
import { KilnError } from "../errors.ts";
import { GuestAgent } from "../guest/agent.ts";
import { makeIdentity } from "../guest/identity.ts";
import type { Snapshot } from "../snapshot/manifest.ts";
import type { Vm, VmExit, Vmm } from "../vmm/vmm.ts";
import { usableFiles } from "./lazy-memory.ts";
import { makeId } from "./sandbox-id.ts";
import { STARTS } from "./starts.ts";

/** How long the agent of a resumed guest may take to answer, in milliseconds. */
const RESUME_TIMEOUT_MS = 60_000;

/** All it takes to start sandboxes of one template: a rootfs, a snapshot of it, and the engine that made it. */
export interface Bootable {
  vmm: Vmm;
  rootfs: Rootfs;
  kernel: { vmlinuz: string; initrd: string };
  snapshot: Snapshot;
}

/** A running sandbox: a VM resumed from a snapshot, with a disk of its own. Disposing it leaves nothing behind. */
export class Sandbox implements AsyncDisposable {
  readonly id: string;
  readonly agent: GuestAgent;
  readonly #vm: Vm;
  readonly #release: () => Promise<void>;

  private constructor(id: string, vm: Vm, agent: GuestAgent, release: () => Promise<void>) {
    this.id = id;
    this.#vm = vm;
    this.agent = agent;
    this.#release = release;
  }

  /**
   * Resumes a snapshot on a fresh session diff. Returns when the VM runs and the agent was greeted; it need not have
   * answered yet, what is asked of it waits its turn.
   */
  static async start(
    bootable: Bootable,
    disks: DiskService,
    directory: string,
    signal?: AbortSignal,
  ): Promise<Sandbox> {
    const { snapshot, rootfs, kernel, vmm } = bootable;
    const { vcpu, memoryMib } = snapshot.manifest.subject;
    const id = makeId();
    const folder = join(directory, id);
    await using cleanup = new AsyncDisposableStack();
    await mkdir(folder, { recursive: true, mode: 0o700 });
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    const disk = await disks.add({
      id,
      base: rootfs.path,
      layers: [...rootfs.layers, snapshot.diskLayer],
      diff: join(folder, "disk"),
      sizeBytes: rootfs.sizeBytes,
      durability: "process",
    });
    cleanup.defer(() => disk.discard());
    const endTurn = await STARTS.take(signal);
    cleanup.defer(async () => endTurn());
    const vm = await vmm.restore(
      { directory: folder, vcpu, memoryMib, kernel, disk: disk.nbd },
      await usableFiles(snapshot.files),
      signal,
    );
    cleanup.use(vm);
    const agent = new GuestAgent(vm.agent, async () => {
      const { reason } = await vm.exited;
      return new KilnError("VM_FAILED", `the sandbox's VM is gone: ${reason}`);
    });
    cleanup.defer(async () => agent.close());
    const handshake = agent.handshake({
      generation: snapshot.manifest.generation + 1,
      identity: makeIdentity(id),
      timeoutMs: RESUME_TIMEOUT_MS,
    });
    // A failed handshake shows in everything that is asked of the agent.
    void handshake
      .catch((error) =>
        agent.fail(error instanceof KilnError ? error : new KilnError("VM_FAILED", String(error))),
      )
      .finally(endTurn);
    const owned = cleanup.move();
    return new Sandbox(id, vm, agent, () => owned.disposeAsync());
  }

  /** Process id of the VMM. */
  get pid(): number {
    return this.#vm.pid;
  }

  /** Resolves when the VM is gone. */
  get exited(): Promise<VmExit> {
    return this.#vm.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release();
  }
}
