import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { KilnError } from "../../errors.ts";
import type { ProcessId } from "../../os/process-id.ts";
import { connectWhenListening } from "../connect.ts";
import type { SnapshotFiles, Vm, VmConfig, VmExit } from "../vmm.ts";
import { type Accelerator, qemuArguments } from "./arguments.ts";
import { saveQemu } from "./migration/save.ts";
import { QemuChild, type QemuProcess } from "./process.ts";
import { QmpClient } from "./qmp.ts";

/** How long QEMU may take to open its control socket, load a device state or write one, in milliseconds. */
const QEMU_PATIENCE_MS = 30_000;

const CAPABILITIES = [
  { capability: "x-ignore-shared", state: true },
  { capability: "events", state: true },
];

const completed = (data: Record<string, unknown>) => data.status === "completed" || data.status === "failed";

/** Where the guest console of a VM that `boot` started is kept, below the VM's folder. */
export const CONSOLE_LOG = "console.log";

/** Where files and sockets of a VM are. */
export function vmPaths({ directory }: VmConfig) {
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
  process: QemuProcess;
  qmp: QmpClient;
  agent: Duplex;
  config: VmConfig;
  /** The snapshot that `boot` was asked to make. */
  template?: SnapshotFiles;
}

/** A virtual machine in a QEMU process. */
export class QemuVm implements Vm {
  readonly agent: Duplex;
  readonly #process: QemuProcess;
  readonly #qmp: QmpClient;
  readonly #config: VmConfig;
  readonly #template: SnapshotFiles | undefined;

  constructor({ process, qmp, agent, config, template }: QemuParts) {
    this.#process = process;
    this.#qmp = qmp;
    this.agent = agent;
    // The end of a VM breaks this connection, whether or not anybody reads from it; readers have listeners of their own.
    agent.on("error", () => undefined);
    this.#config = config;
    this.#template = template;
  }

  static async start(
    binary: string,
    accelerator: Accelerator,
    config: VmConfig,
    files: SnapshotFiles,
    mode: "boot" | "restore",
    signal?: AbortSignal,
  ): Promise<QemuVm> {
    const paths = vmPaths(config);
    const args = qemuArguments(
      config,
      accelerator,
      { file: files.memory, shared: mode === "boot" },
      { ...paths, consoleLog: mode === "boot" ? join(config.directory, CONSOLE_LOG) : undefined },
    );
    await using state = mode === "restore" ? await open(files.state, "r") : undefined;
    const process = await QemuChild.start(binary, [...args, ...(state ? ["-incoming", "defer"] : [])], {
      incoming: state?.fd,
      detachedLog: config.detached ? paths.log : undefined,
    });
    try {
      const patience = AbortSignal.timeout(QEMU_PATIENCE_MS);
      const until = AbortSignal.any([process.gone, patience, ...(signal ? [signal] : [])]);
      const qmp = new QmpClient(await connectWhenListening(paths.qmpSocket, until));
      // QEMU answers in order: nothing is gained by waiting for one answer before the next command.
      const [agent] = await Promise.all([
        connectWhenListening(paths.agentSocket, until),
        qmp.execute("qmp_capabilities"),
        qmp.execute("migrate-set-capabilities", { capabilities: CAPABILITIES }),
        ...(mode === "restore" ? [loadState(qmp)] : []),
      ]);
      return new QemuVm({ process, qmp, agent, config, ...(mode === "boot" ? { template: files } : {}) });
    } catch (error) {
      await process.stop();
      throw describe(error, await process.exited, signal);
    }
  }

  get networkSocket(): string {
    return vmPaths(this.#config).networkSocket;
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
    // Over a socket, since QEMU may neither start programs nor open files it was not given.
    const path = join(this.#config.directory, "state");
    const received = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      pipeline(socket, createWriteStream(template.state, { flush: true })).then(
        received.resolve,
        received.reject,
      );
    });
    server.once("error", received.reject);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const ended = this.#qmp.waitFor("MIGRATION", completed);
      await this.#qmp.execute("migrate", { uri: `unix:${path}` });
      if ((await ended).status !== "completed")
        throw new KilnError("VM_FAILED", "QEMU could not write its device state");
      await received.promise;
    } finally {
      server.close();
    }
  }

  async save(files: SnapshotFiles, signal?: AbortSignal): Promise<void> {
    await this.pause();
    await saveQemu(this.#qmp, this.#config, files, signal);
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

async function loadState(qmp: QmpClient): Promise<void> {
  const loaded = qmp.waitFor("MIGRATION", completed);
  const [data] = await Promise.all([loaded, qmp.execute("migrate-incoming", { uri: "fd:3" })]);
  if (data.status !== "completed")
    throw new KilnError("VM_FAILED", "QEMU could not load the snapshot's device state");
  await qmp.execute("cont");
}

/** A failed start as one error that says most: why QEMU ended, rather than which connection it took along. */
function describe(error: unknown, exit: VmExit, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return new KilnError("CANCELLED", "cancelled while starting a VM", { cause: error });
  if (!exit.expected)
    return new KilnError("VM_FAILED", `the VM did not start: ${exit.reason}`, { cause: error });
  if (error instanceof KilnError) return error;
  const message = "the VM did not start: QEMU did not answer in time";
  return new KilnError("TIMEOUT", message, { cause: error, hint: "is the machine overloaded? try again" });
}
