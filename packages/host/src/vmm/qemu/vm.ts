import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { KilnError } from "../../errors.ts";
import { connectWhenListening } from "../connect.ts";
import type { SnapshotFiles, Vm, VmConfig, VmExit } from "../vmm.ts";
import { type Accelerator, qemuArguments } from "./arguments.ts";
import { QemuProcess } from "./process.ts";
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

/** A virtual machine in a QEMU process. */
export class QemuVm implements Vm {
  readonly agent: Duplex;
  readonly #process: QemuProcess;
  readonly #qmp: QmpClient;
  readonly #config: VmConfig;
  readonly #files: SnapshotFiles;

  private constructor(
    process: QemuProcess,
    qmp: QmpClient,
    agent: Duplex,
    config: VmConfig,
    files: SnapshotFiles,
  ) {
    this.#process = process;
    this.#qmp = qmp;
    this.agent = agent;
    this.#config = config;
    this.#files = files;
  }

  static async start(
    binary: string,
    accelerator: Accelerator,
    config: VmConfig,
    files: SnapshotFiles,
    mode: "boot" | "restore",
    signal?: AbortSignal,
  ): Promise<QemuVm> {
    const paths = {
      qmpSocket: join(config.directory, "qmp"),
      agentSocket: join(config.directory, "agent"),
      consoleLog: mode === "boot" ? join(config.directory, CONSOLE_LOG) : undefined,
    };
    const args = qemuArguments(config, accelerator, { file: files.memory, shared: mode === "boot" }, paths);
    await using state = mode === "restore" ? await open(files.state, "r") : undefined;
    const process = state
      ? new QemuProcess(binary, [...args, "-incoming", "defer"], state.fd)
      : new QemuProcess(binary, args);
    try {
      const patience = AbortSignal.timeout(QEMU_PATIENCE_MS);
      const until = AbortSignal.any([process.gone, patience, ...(signal ? [signal] : [])]);
      const qmp = new QmpClient(await connectWhenListening(paths.qmpSocket, until));
      // QEMU answers in order: nothing is gained by waiting for one answer before the next command.
      const [, , agent] = await Promise.all([
        qmp.execute("qmp_capabilities"),
        qmp.execute("migrate-set-capabilities", { capabilities: CAPABILITIES }),
        connectWhenListening(paths.agentSocket, until),
        ...(mode === "restore" ? [loadState(qmp)] : []),
      ]);
      return new QemuVm(process, qmp, agent as Socket, config, files);
    } catch (error) {
      await process.stop();
      throw describe(error, await process.exited, signal);
    }
  }

  get pid(): number {
    return this.#process.pid;
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
    // Over a socket, since QEMU may neither start programs nor open files it was not given.
    const path = join(this.#config.directory, "state");
    const received = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      pipeline(socket, createWriteStream(this.#files.state, { flush: true })).then(
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

  async stop(): Promise<void> {
    this.agent.destroy();
    await this.#process.stop();
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
