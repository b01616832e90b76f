import { createHash } from "node:crypto";
import { join, sep } from "node:path";
import { KilnError } from "../../errors.ts";
import type { ProcessId } from "../../os/process-id.ts";
import { Cgroup } from "../jail/cgroups.ts";
import type { SnapshotFiles, Vm, VmConfig, Vmm } from "../vmm.ts";
import { adoptFirecracker } from "./adopt.ts";
import { configurationIdentity } from "./configuration.ts";
import { killFirecrackers } from "./find.ts";
import { leftNodes, leftSlots } from "./nbd/left-slots.ts";
import { NbdSlots } from "./nbd/slots.ts";
import {
  type FirecrackerProbe,
  type KnownRefusal,
  knownFirecrackerProbe,
  knownFirecrackerRefusal,
  type ProbeFile,
  probeFirecracker,
  readFirecrackerProbe,
} from "./probe.ts";
import { startFirecracker } from "./start.ts";
import { Taps } from "./tap/taps.ts";

/** Of this process: engines come and go, the devices stay. */
const SLOTS = new NbdSlots();
const TAPS = new Taps();

/** The engine for servers: KVM only, as root only, disks by the kernel's NBD devices. */
export class FirecrackerEngine implements Vmm {
  readonly engine = "firecracker";
  readonly identity: Readonly<Record<string, string>>;
  readonly #probe: FirecrackerProbe;

  private constructor(probe: FirecrackerProbe) {
    this.#probe = probe;
    this.identity = {
      engine: this.engine,
      version: probe.version,
      accelerator: "kvm",
      cpu: probe.subject.hostCpu,
      machine: createHash("sha256").update(configurationIdentity()).digest("hex").slice(0, 16),
    };
  }

  /** The Firecracker of this host, tried out if that was not done before. @throws KilnError `HOST_UNSUPPORTED`. */
  static async open(
    probeFile: ProbeFile,
    kernel: { key: string; vmlinuz: string; initrd: string },
    signal?: AbortSignal,
  ): Promise<FirecrackerEngine> {
    return new FirecrackerEngine(await probeFirecracker(probeFile, kernel, signal));
  }

  /** The same if it was tried out before. */
  static async known(probeFile: ProbeFile, kernel: { key: string }): Promise<FirecrackerEngine | undefined> {
    const probe = await knownFirecrackerProbe(probeFile, kernel);
    return probe && new FirecrackerEngine(probe);
  }

  /** Why the present one was found not to work with `kernel`, if it was. */
  static knownRefusal(probeFile: ProbeFile, kernel: { key: string }): Promise<KnownRefusal | undefined> {
    return knownFirecrackerRefusal(probeFile, kernel);
  }

  /** The one that was tried out last, whatever has changed since. */
  static async last(probeFile: ProbeFile): Promise<FirecrackerEngine | undefined> {
    const probe = await readFirecrackerProbe(probeFile);
    return probe && new FirecrackerEngine(probe);
  }

  warm(): void {
    SLOTS.warm();
    TAPS.warm();
  }

  boot(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm> {
    return startFirecracker({ probe: this.#probe, slots: SLOTS, taps: TAPS }, config, files, "boot", signal);
  }

  restore(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm> {
    return startFirecracker(
      { probe: this.#probe, slots: SLOTS, taps: TAPS },
      config,
      files,
      "restore",
      signal,
    );
  }

  adopt(config: VmConfig, process: ProcessId, signal?: AbortSignal): Promise<Vm> {
    return adoptFirecracker(SLOTS, config, process, signal);
  }

  async kill(directory: string): Promise<void> {
    await end((other) => other === directory);
    await (await Cgroup.find(directory)).remove();
  }

  async killOthers(root: string, kept: readonly string[]): Promise<void> {
    const below = join(root, sep);
    const names = new Set(kept);
    await end(
      (directory) =>
        directory.startsWith(below) && !names.has(directory.slice(below.length).split(sep)[0] ?? ""),
    );
  }
}

/** Ends the VMs in folders that are `wanted`, and frees the devices that nobody detaches any more. */
async function end(wanted: (directory: string) => boolean): Promise<void> {
  await killFirecrackers(wanted);
  for (const { number, directory } of await leftSlots()) {
    // In the care of a process that lives, it is detached by that one.
    if (wanted(directory)) await SLOTS.free(number, directory).catch(passCare);
  }
  if ((await leftNodes()).length > 0) await SLOTS.sweep();
}

function passCare(error: unknown): void {
  if (!(error instanceof KilnError) || error.code !== "CAPACITY") throw error;
}
