import { join } from "node:path";
import type { Duplex } from "node:stream";
import { KilnError } from "../../errors.ts";
import type { ProcessId } from "../../os/process-id.ts";
import type { VmmProcess } from "../process.ts";
import { describeThreads } from "../threads.ts";
import type { SnapshotFiles, Vm, VmConfig, VmExit } from "../vmm.ts";
import { describeQemu } from "./describe.ts";
import { saveDevices, saveQemu, type VmFolder } from "./migration/save.ts";
import type { QmpClient } from "./qmp.ts";

/** Where files and sockets of a VM are. */
export function vmPaths(directory: string) {
  return {
    qmpSocket: join(directory, "qmp"),
    agentSocket: join(directory, "agent"),
    networkSocket: join(directory, "net"),
    /** What a detached QEMU has to say. */
    log: join(directory, "qemu.log"),
  };
}

/** What it takes to drive a QEMU that runs. */
export interface QemuParts {
  process: VmmProcess;
  qmp: QmpClient;
  agent: Duplex;
  config: VmConfig;
  /** Path by which QEMU knows the VM's folder. */
  seenAs: string;
  /** The snapshot that `boot` was asked to make. */
  template?: {
    state: string;
    /** Makes the memory file one to restore from. */
    finish(): Promise<void>;
  };
}

/** A virtual machine in a QEMU process. */
export class QemuVm implements Vm {
  readonly agent: Duplex;
  readonly #process: VmmProcess;
  readonly #qmp: QmpClient;
  readonly #config: VmConfig;
  readonly #seenAs: string;
  readonly #template: QemuParts["template"];

  constructor({ process, qmp, agent, config, seenAs, template }: QemuParts) {
    this.#process = process;
    this.#qmp = qmp;
    this.agent = agent;
    this.#config = config;
    this.#seenAs = seenAs;
    this.#template = template;
  }

  get #folder(): VmFolder {
    return { directory: this.#config.directory, seenAs: this.#seenAs };
  }

  get networkSocket(): string {
    return vmPaths(this.#config.directory).networkSocket;
  }

  get pid(): number {
    return Number.parseInt(this.#process.id, 10);
  }

  get processId(): ProcessId {
    return this.#process.id;
  }

  get exited(): Promise<VmExit> {
    return this.#process.exited;
  }

  async pause(): Promise<void> {
    await this.#qmp.execute("stop");
  }

  async resume(): Promise<void> {
    await this.#qmp.execute("cont");
  }

  async snapshot(): Promise<void> {
    const template = this.#template;
    if (!template) throw new KilnError("INTERNAL", "only a VM that was booted can be made a template");
    await saveDevices(this.#qmp, this.#folder, template.state);
    await template.finish();
  }

  async save(files: SnapshotFiles, signal?: AbortSignal): Promise<void> {
    await this.pause();
    await saveQemu(this.#qmp, this.#folder, this.#config.memoryMib * 1024 * 1024, files, signal);
  }

  async describe(): Promise<string> {
    const threads = await describeThreads(this.pid);
    return `${threads}\n${await describeQemu(this.#qmp)}`;
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    await this.#process.stop();
  }

  async release(): Promise<void> {
    this.#process.release();
    this.agent.destroy();
    this.#qmp.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
