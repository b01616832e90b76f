import { randomUUID } from "node:crypto";
import type { Disk } from "@kiln/host/block/disk-service.ts";
import { GuestAgent } from "@kiln/host/guest/agent.ts";
import { makeIdentity } from "@kiln/host/guest/identity.ts";
import type { NetworkService } from "@kiln/host/network/network-service.ts";
import type { NetworkPolicy } from "@kiln/host/network/policy/schema.ts";
import type { SnapshotFiles, Vm, VmConfig } from "@kiln/host/vmm/vmm.ts";
import { shell, type TestMachines } from "../../vm/support/machine.ts";

/** How long a guest may take to boot, or to answer when it goes on, in milliseconds: minutes where KVM runs on an emulated processor. */
const PATIENCE_MS = 300_000;

/** What a VM goes on from. */
export interface Origin {
  files: SnapshotFiles;
  /** The disk's, above the template's. */
  layers: readonly string[];
  /** Of the guest when it was saved. */
  generation: number;
}

export interface EngineVmOptions {
  /** @default the template's snapshot */
  origin?: Origin;
  /** @default true; a guest that was paused keeps the one it has */
  newIdentity?: boolean;
  /** @default none: nobody is at the other end of its link */
  network?: { networks: NetworkService; policy: NetworkPolicy };
}

/** A VM of the engine under test with its disk, its agent and its network. */
export class EngineVm implements AsyncDisposable {
  readonly config: VmConfig;
  readonly disk: Disk;
  readonly id: string;
  /** How long its first handshake took, in milliseconds. */
  greetingMs = 0;
  readonly #machines: TestMachines;
  readonly #resources = new AsyncDisposableStack();
  #layers: readonly string[];
  #diff: string;
  #current: { vm: Vm; agent: GuestAgent } | undefined;

  private constructor(
    machines: TestMachines,
    { config, disk, diff }: Awaited<ReturnType<TestMachines["place"]>>,
    layers: readonly string[],
  ) {
    this.#machines = machines;
    this.config = config;
    this.disk = disk;
    this.#diff = diff;
    this.#layers = layers;
    this.id = randomUUID().slice(0, 8);
    this.#resources.defer(() => disk.discard());
  }

  /** Boots the template's disk, with its memory in `files`. */
  static async boot(machines: TestMachines, files: SnapshotFiles): Promise<EngineVm> {
    await using failed = new AsyncDisposableStack();
    const made = failed.use(new EngineVm(machines, await machines.place(), []));
    await made.#run(() => machines.bootable.vmm.boot(made.config, files), 1);
    failed.move();
    return made;
  }

  static async start(machines: TestMachines, options: EngineVmOptions = {}): Promise<EngineVm> {
    const { bootable, firstGeneration } = machines;
    const { origin, network, newIdentity } = options;
    const { files, layers, generation } = origin ?? {
      files: bootable.snapshot.files,
      layers: [],
      generation: firstGeneration - 1,
    };
    await using failed = new AsyncDisposableStack();
    const made = failed.use(new EngineVm(machines, await machines.place(layers), layers));
    await made.#run(() => bootable.vmm.restore(made.config, files), generation + 1, newIdentity);
    if (network) await made.#connect(network);
    failed.move();
    return made;
  }

  get vm(): Vm {
    if (!this.#current) throw new Error("there is no VM");
    return this.#current.vm;
  }

  get agent(): GuestAgent {
    if (!this.#current) throw new Error("there is no VM");
    return this.#current.agent;
  }

  /** Runs a shell script in the guest and gives what it printed. */
  shell(script: string): Promise<string> {
    return shell(this.agent, script);
  }

  /** Writes a VM that was booted to the files it was booted with, and ends it. */
  async snapshot(files: SnapshotFiles): Promise<Origin> {
    await this.agent.freeze();
    await this.vm.pause();
    await this.vm.snapshot();
    return this.#endWith(files);
  }

  /** Writes it to files and ends it. */
  async pause(): Promise<Origin> {
    const files = await this.#machines.newFiles();
    await this.agent.freeze();
    await this.vm.save(files);
    return this.#endWith(files);
  }

  /**
   * Writes it to files; it goes on itself, with what it has written so far below what it will write.
   * @param whilePaused waited for before it goes on.
   */
  async fork(whilePaused?: () => Promise<void>): Promise<Origin> {
    const files = await this.#machines.newFiles();
    const { generation } = this.agent;
    await this.agent.freeze();
    await this.vm.save(files);
    const next = `${this.#diff}-next`;
    await this.disk.rotate(next);
    this.#layers = [...this.#layers, this.#diff];
    this.#diff = next;
    await whilePaused?.();
    await this.vm.resume();
    await this.agent.handshake({ generation: generation + 1, timeoutMs: PATIENCE_MS });
    return { files, layers: this.#layers, generation };
  }

  /** Has its owner let go of it and another take it up. */
  async changeOwner(): Promise<void> {
    const { vm, agent } = this;
    agent.close();
    await vm.release();
    await this.#run(
      () => this.#machines.bootable.vmm.adopt(this.config, vm.processId),
      agent.generation + 1,
      false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await this.#resources.disposeAsync();
  }

  async #run(start: () => Promise<Vm>, generation: number, newIdentity = true): Promise<void> {
    const vm = await start();
    const agent = new GuestAgent(vm.agent);
    this.#current = { vm, agent };
    const began = performance.now();
    const identity = newIdentity ? { identity: makeIdentity(`test-${this.id}`) } : {};
    await agent.handshake({ generation, timeoutMs: PATIENCE_MS, ...identity });
    this.greetingMs = performance.now() - began;
  }

  async #connect({ networks, policy }: NonNullable<EngineVmOptions["network"]>): Promise<void> {
    await networks.add({ id: this.id, socketPath: this.vm.networkSocket, policy });
    this.#resources.defer(() => networks.remove(this.id));
  }

  async #end(): Promise<void> {
    this.#current?.agent.close();
    await this.#current?.vm.stop();
    this.#current = undefined;
  }

  async #endWith(files: SnapshotFiles): Promise<Origin> {
    const { generation } = this.agent;
    await this.#end();
    const next = `${this.#diff}-next`;
    await this.disk.rotate(next);
    const layers = [...this.#layers, this.#diff];
    return { files, layers, generation };
  }
}
