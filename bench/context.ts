import { join } from "node:path";
import { DiskService } from "../packages/host/src/block/disk-service.ts";
import { ensureAgent } from "../packages/host/src/build/agent.ts";
import { KilnHome } from "../packages/host/src/home.ts";
import { type OwnedFolder, openOwnedFolder } from "../packages/host/src/os/owned-folder.ts";
import { type ProgressEvent, runStage } from "../packages/host/src/progress.ts";
import type { Bootable } from "../packages/host/src/sandbox/sandbox.ts";
import { SandboxHost } from "../packages/host/src/sandbox/sandbox-host.ts";
import { probeQemu, type QemuProbe } from "../packages/host/src/vmm/qemu/probe.ts";
import { buildFloorAgent } from "./floor/build-agent.ts";
import { Floor } from "./floor/floor.ts";

export interface ContextOptions {
  /** Name of the template that is measured, or path of its spec. */
  template: string;
  signal: AbortSignal;
  onProgress: (event: ProgressEvent) => void;
}

/** What the rows share. Each thing is made when a row first asks for it, and released with the context. */
export class BenchContext implements AsyncDisposable {
  readonly template: string;
  readonly signal: AbortSignal;
  readonly home = KilnHome.fromEnvironment();
  readonly #onProgress: (event: ProgressEvent) => void;
  readonly #resources = new AsyncDisposableStack();
  readonly #made = new Map<string, Promise<unknown>>();

  constructor({ template, signal, onProgress }: ContextOptions) {
    this.template = template;
    this.signal = signal;
    this.#onProgress = onProgress;
  }

  #once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const known = this.#made.get(name) as Promise<T> | undefined;
    if (known) return known;
    const made = make();
    this.#made.set(name, made);
    return made;
  }

  /** Kiln's library, in this process. */
  host(): Promise<SandboxHost> {
    return this.#once("host", async () => {
      const host = this.#resources.use(await SandboxHost.open(this.home));
      host.warm();
      return host;
    });
  }

  /** The template, built where that is needed. */
  bootable(): Promise<Bootable> {
    return this.#once("bootable", async () => {
      const host = await this.host();
      return host.prepare(this.template, { signal: this.signal, onProgress: this.#onProgress });
    });
  }

  /** What is known about QEMU here, if any row has asked for a VM. */
  async probe(): Promise<QemuProbe> {
    const { kernel, snapshot } = await this.bootable();
    const { kernel: key } = snapshot.manifest.subject;
    const guestAgent = async () => (await ensureAgent(this.home)).path;
    return this.#once("probe", () =>
      probeQemu(this.home.probe("qemu"), { key, ...kernel }, guestAgent, this.signal),
    );
  }

  /** The accelerator, if it is known by now. */
  async probeIfKnown(): Promise<QemuProbe | undefined> {
    return this.#made.has("bootable") ? this.probe() : undefined;
  }

  /** A short folder for sockets and disks, gone at the end; swept by the next Kiln if this process is killed. */
  async folder(): Promise<string> {
    const { path } = await this.#once("folder", async (): Promise<OwnedFolder> => {
      return this.#resources.use(await openOwnedFolder(this.home.runs));
    });
    return path;
  }

  /** Disks of the benchmark's own, for rows that look below a sandbox. */
  disks(): Promise<DiskService> {
    return this.#once("disks", async () =>
      this.#resources.use(new DiskService(join(await this.folder(), "block"))),
    );
  }

  /** The floor for this template: same kernel, machine and rootfs, the smallest agent, no Kiln. */
  floor(): Promise<Floor> {
    return this.#once("floor", async () => {
      const { rootfs, kernel, snapshot } = await this.bootable();
      const { vcpu, memoryMib } = snapshot.manifest.subject;
      const { accelerator, subject } = await this.probe();
      const folder = await this.folder();
      return runStage(this.#onProgress, "floor", async (update) => {
        const report = { signal: this.signal, onProgress: this.#onProgress };
        const agent = await buildFloorAgent(this.home, folder, report);
        update("booting and taking its snapshot");
        const machine = { binary: subject.binary, accelerator, vcpu, memoryMib, kernel };
        return Floor.prepare(machine, rootfs.path, agent, folder, this.signal);
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#made.values());
    await this.#resources.disposeAsync();
  }
}
