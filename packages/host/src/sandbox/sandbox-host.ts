import { mkdir } from "node:fs/promises";
import { DiskService } from "../block/disk-service.ts";
import { ensureAgent } from "../build/agent.ts";
import { checkSpace, watchSpace } from "../build/disk-space.ts";
import { ensureKernel, type Kernel } from "../build/kernel.ts";
import { explainNoSpace } from "../build/no-space.ts";
import { ensureRootfs, type Rootfs } from "../build/rootfs.ts";
import { together } from "../build/together.ts";
import type { KilnHome } from "../home.ts";
import { Uses } from "../os/in-use.ts";
import { openOwnedFolder, sweepOwnedFolders } from "../os/owned-folder.ts";
import type { OnProgress } from "../progress.ts";
import { ensureSnapshot } from "../snapshot/make.ts";
import { findSnapshot, snapshotKey, subjectOf } from "../snapshot/manifest.ts";
import { checksOf } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { resolveTemplate } from "../template/templates.ts";
import { type EngineName, openEngine } from "../vmm/engines.ts";
import { sweepCgroups } from "../vmm/jail/cgroups.ts";
import { spaceFor } from "./build-space.ts";
import { findBootable } from "./find-bootable.ts";
import { defaultLimits } from "./limits.ts";
import { pullTemplate } from "./pull-template.ts";
import { type Bootable, Sandbox } from "./sandbox.ts";
import { markUsed, pruneVariants } from "./variants.ts";

export interface PrepareOptions {
  /** Another number of CPUs than the template's: makes another snapshot of the same rootfs. */
  vcpu?: number;
  /** Another memory size in MiB than the template's: the same. */
  memoryMib?: number;
  /** Another engine than the host's: the same. */
  engine?: EngineName;
  onProgress?: OnProgress;
  signal?: AbortSignal;
  /** How long one step of a build may take, in milliseconds. @default no limit */
  stepTimeoutMs?: number;
  /** Room on the disk that a build has to leave, in MiB. @default as the daemon's */
  minFreeDiskMib?: number;
}

/** Everything sandboxes of one process share: the folder for their sockets and the server of their disks. */
export class SandboxHost implements AsyncDisposable {
  readonly #home: KilnHome;
  readonly #directory: string;
  readonly #resources: AsyncDisposableStack;
  readonly #disks: DiskService;
  /** What was prepared here: sandboxes may start from it until this is disposed. */
  readonly #uses: Uses;

  private constructor(home: KilnHome, directory: string, resources: AsyncDisposableStack) {
    this.#home = home;
    this.#directory = directory;
    this.#resources = resources;
    this.#uses = resources.use(new Uses(home));
    this.#disks = resources.use(new DiskService(directory));
  }

  /** Opens `home` and removes what crashed processes left in it. */
  static async open(home: KilnHome): Promise<SandboxHost> {
    await mkdir(home.root, { recursive: true, mode: 0o700 });
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(await openOwnedFolder(home.runs));
    await Promise.all([sweepOwnedFolders(home.runs), sweepOwnedFolders(home.tmp)]);
    await sweepCgroups();
    return new SandboxHost(home, folder.path, resources.move());
  }

  /** Starts the block server ahead of the first sandbox. */
  warm(): void {
    this.#disks.warm();
  }

  /** Makes whatever is missing between a template and its first sandbox: kernel, rootfs, snapshot. */
  async prepare(template: string, options: PrepareOptions = {}): Promise<Bootable> {
    return this.prepareSpec(await resolveTemplate(this.#home, template), options);
  }

  /**
   * The same for a spec. The disk is looked at before and during the work: nothing is begun that may not find its room.
   * @throws KilnError `DISK_FULL`, and what each part of the work throws.
   */
  async prepareSpec(spec: TemplateSpec, options: PrepareOptions = {}): Promise<Bootable> {
    await pullTemplate(this.#home, spec, options);
    const found = await findBootable(this.#home, spec, options);
    if (found) return found;
    const { memoryMib = spec.memory_mib, minFreeDiskMib = defaultLimits().minFreeDiskMib, signal } = options;
    await checkSpace(this.#home, await spaceFor(this.#home, spec, memoryMib), minFreeDiskMib);
    using space = watchSpace(this.#home, minFreeDiskMib);
    try {
      return await this.#build(spec, {
        ...options,
        signal: signal ? AbortSignal.any([signal, space.signal]) : space.signal,
      });
    } catch (error) {
      if (space.signal.aborted && signal?.aborted !== true) throw space.signal.reason;
      throw explainNoSpace(error);
    }
  }

  async #build(spec: TemplateSpec, options: PrepareOptions): Promise<Bootable> {
    const { onProgress, signal, stepTimeoutMs } = options;
    const report = {
      ...(onProgress ? { onProgress } : {}),
      ...(signal ? { signal } : {}),
      ...(stepTimeoutMs === undefined ? {} : { stepTimeoutMs }),
    };
    const [kernel, rootfs] = await together<Kernel, Rootfs>(
      signal,
      (cancelled) => ensureKernel(this.#home, { ...report, signal: cancelled }),
      (cancelled) => ensureRootfs(this.#home, spec, { ...report, signal: cancelled, uses: this.#uses }),
    );
    const guestAgent = async () => (await ensureAgent(this.#home, report)).path;
    const vmm = await openEngine(options.engine, { probeFile: this.#home.probe, kernel, guestAgent, signal });
    const size = { vcpu: options.vcpu ?? spec.vcpu, memoryMib: options.memoryMib ?? spec.memory_mib };
    const subject = subjectOf(rootfs, kernel, vmm, size, checksOf(spec));
    const folders = [this.#home.artifact("kernel", kernel.key), this.#home.snapshot(snapshotKey(subject))];
    await this.#uses.add(folders, signal);
    const isFound = findSnapshot(this.#home, subject) !== undefined;
    const snapshot = await ensureSnapshot(
      { home: this.#home, disks: this.#disks, directory: this.#directory, ...report },
      {
        subject,
        vmm,
        rootfs,
        kernel,
        warmup: checksOf(spec),
      },
    );
    if (isFound) return { vmm, rootfs, kernel, snapshot };
    const removed = await pruneVariants(this.#home, rootfs.key);
    for (const { subject } of removed) {
      const size = `${subject.vcpu} vCPU and ${subject.memoryMib} MiB`;
      onProgress?.({
        stage: "snapshot",
        status: "update",
        message: `removed the one with ${size}: unused for longest`,
      });
    }
    return { vmm, rootfs, kernel, snapshot };
  }

  /** Starts a sandbox. */
  async start(bootable: Bootable, signal?: AbortSignal): Promise<Sandbox> {
    void markUsed(this.#home, bootable.snapshot.manifest.key);
    return Sandbox.start(bootable, this.#disks, this.#directory, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
