import { createHash } from "node:crypto";
import type { SnapshotFiles, Vm, VmConfig, Vmm } from "../vmm.ts";
import { argumentsIdentity } from "./arguments.ts";
import type { QemuProbe } from "./probe.ts";
import { QemuVm } from "./vm.ts";

/** The embedded engine: runs on every x86-64 Linux, under KVM where that works and in software emulation elsewhere. */
export class QemuEngine implements Vmm {
  readonly engine = "qemu";
  readonly identity: Readonly<Record<string, string>>;
  readonly #probe: QemuProbe;

  constructor(probe: QemuProbe) {
    this.#probe = probe;
    this.identity = {
      engine: this.engine,
      version: probe.version,
      accelerator: probe.accelerator,
      // Emulation has one CPU for all hosts; KVM passes on what the host has.
      cpu: probe.accelerator === "kvm" ? probe.subject.hostCpu : "max",
      machine: createHash("sha256").update(argumentsIdentity(probe.accelerator)).digest("hex").slice(0, 16),
    };
  }

  boot(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm> {
    return QemuVm.start(this.#probe.subject.binary, this.#probe.accelerator, config, files, "boot", signal);
  }

  restore(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm> {
    return QemuVm.start(
      this.#probe.subject.binary,
      this.#probe.accelerator,
      config,
      files,
      "restore",
      signal,
    );
  }
}
