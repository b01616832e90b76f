import { createHash } from "node:crypto";
import { join, sep } from "node:path";
import type { ProcessId } from "../../os/process-id.ts";
import { Cgroup } from "../jail/cgroups.ts";
import { launchersFor } from "../jail/launchers.ts";
import type { SnapshotFiles, Vm, VmConfig, Vmm } from "../vmm.ts";
import { adoptQemu } from "./adopt.ts";
import { argumentsIdentity } from "./arguments.ts";
import { killQemuProcesses } from "./find.ts";
import type { QemuProbe } from "./probe.ts";
import { startQemu } from "./start.ts";

/** The embedded engine: runs on every x86-64 Linux, under KVM where that works and in software emulation elsewhere. */
export class QemuEngine implements Vmm {
  readonly engine = "qemu";
  readonly identity: Readonly<Record<string, string>>;
  readonly #probe: QemuProbe;

  constructor(probe: QemuProbe) {
    this.#probe = probe;
    const { accelerator } = probe;
    this.identity = {
      engine: this.engine,
      version: probe.version,
      accelerator: accelerator.kind,
      // KVM passes on what the host has. Emulation has one CPU for all hosts, but with the host's time stamp counter.
      cpu:
        accelerator.kind === "kvm"
          ? probe.subject.hostCpu
          : `max, ${Math.round(accelerator.tscKhz / 1_000)} MHz`,
      machine: createHash("sha256").update(argumentsIdentity(accelerator)).digest("hex").slice(0, 16),
    };
  }

  warm(): void {
    launchersFor(this.#probe.isolation).warm();
  }

  boot(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm> {
    return startQemu(this.#probe, config, files, "boot", signal);
  }

  restore(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm> {
    return startQemu(this.#probe, config, files, "restore", signal);
  }

  adopt(config: VmConfig, process: ProcessId, signal?: AbortSignal): Promise<Vm> {
    return adoptQemu(config, process, signal);
  }

  async kill(directory: string): Promise<void> {
    await killQemuProcesses((other) => other === directory);
    await (await Cgroup.find(directory)).remove();
  }

  async killOthers(root: string, kept: readonly string[]): Promise<void> {
    const below = join(root, sep);
    const names = new Set(kept);
    await killQemuProcesses(
      (directory) =>
        directory.startsWith(below) && !names.has(directory.slice(below.length).split(sep)[0] ?? ""),
    );
  }
}
