import type { Duplex } from "node:stream";
import { KilnError } from "../../errors.ts";
import type { ProcessId } from "../../os/process-id.ts";
import type { VmmProcess } from "../process.ts";
import { describeThreads } from "../threads.ts";
import type { SnapshotFiles, Vm, VmConfig, VmExit } from "../vmm.ts";
import type { AgentWire } from "./agent-wire.ts";
import type { FirecrackerApi } from "./api.ts";
import { prepareRequest } from "./configuration.ts";
import type { NbdSlot, NbdSlots } from "./nbd/slots.ts";
import { saveFirecracker } from "./save.ts";
import { pathsIn } from "./view.ts";
import { connectAgent } from "./vsock.ts";

/** How long the guest may take to accept a connection when it goes on, in milliseconds. */
export const AGENT_PATIENCE_MS = 60_000;

/** What it takes to drive a Firecracker that runs. */
export interface FirecrackerParts {
  process: VmmProcess;
  api: FirecrackerApi;
  agent: AgentWire;
  config: VmConfig;
  uid: number;
  slot: NbdSlot;
  slots: NbdSlots;
  /** Where `snapshot` writes to, of a VM that was booted. */
  template?: SnapshotFiles;
}

/** A virtual machine in a Firecracker process. */
export class FirecrackerVm implements Vm {
  readonly #parts: FirecrackerParts;
  readonly #slotReleased: Promise<void>;
  /** Whether its devices were written since it stands still. */
  #isWritten = false;

  constructor(parts: FirecrackerParts) {
    this.#parts = parts;
    this.#slotReleased = parts.process.exited.then(() => parts.slots.detach(parts.slot));
    this.#slotReleased.catch(() => undefined); // `stop` tells of it; without one, the kernel's own view of its slots does.
  }

  get agent(): Duplex {
    return this.#parts.agent;
  }

  get networkSocket(): string {
    return pathsIn(this.#parts.config.directory).network;
  }

  get pid(): number {
    return Number.parseInt(this.#parts.process.id, 10);
  }

  get processId(): ProcessId {
    return this.#parts.process.id;
  }

  get exited(): Promise<VmExit> {
    return this.#parts.process.exited;
  }

  async pause(): Promise<void> {
    await this.#parts.api.patch("/vm", { state: "Paused" });
  }

  async resume(): Promise<void> {
    const { api, agent, config, process } = this.#parts;
    // Said to a machine that runs, it would cut the guest off.
    if ((await api.state()) === "Running") return;
    if (!this.#isWritten) await this.#prepare();
    this.#isWritten = false;
    await api.patch("/vm", { state: "Resumed" });
    if (agent.isAttached) return;
    const until = AbortSignal.any([process.gone, AbortSignal.timeout(AGENT_PATIENCE_MS)]);
    agent.attach(await connectAgent(pathsIn(config.directory).vsock, until));
  }

  async snapshot(): Promise<void> {
    const { template } = this.#parts;
    if (!template) throw new KilnError("INTERNAL", "only a VM that was booted can be made a template");
    await this.#write(template, "Diff");
  }

  async save(files: SnapshotFiles, signal?: AbortSignal): Promise<void> {
    await this.pause();
    await this.#write(files, "Full", signal);
  }

  /** Its vsock device tells the guest that all connections are over, whenever its state is written. */
  async #write(files: SnapshotFiles, type: "Full" | "Diff", signal?: AbortSignal): Promise<void> {
    const { api, agent, config, uid } = this.#parts;
    agent.detach();
    await saveFirecracker({ api, directory: config.directory, pid: this.pid, uid }, files, type, signal);
    this.#isWritten = true;
  }

  /** Has the guest told that its connections are over, though nothing is written. */
  async #prepare(): Promise<void> {
    const { api, agent } = this.#parts;
    agent.detach();
    const { path, body } = prepareRequest();
    const refused = await api.put(path, body).catch((error: unknown) => error);
    if (!(refused instanceof KilnError && refused.code === "VM_FAILED")) throw refused;
  }

  async describe(): Promise<string> {
    const threads = await describeThreads(this.pid);
    return `${threads}\nstatus: ${await this.#parts.api.state().catch(String)}`;
  }

  async stop(): Promise<void> {
    const { agent, process } = this.#parts;
    agent.destroy();
    await process.stop();
    await this.#slotReleased;
  }

  async release(): Promise<void> {
    const { process, agent, api } = this.#parts;
    process.release();
    agent.destroy();
    api.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
