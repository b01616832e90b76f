import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { type Accelerator, qemuArguments } from "../../packages/host/src/vmm/qemu/arguments.ts";
import { connectRetrying, LineReader } from "./connect.ts";

/** How long QEMU and its guest may take for anything, in milliseconds. */
const PATIENCE_MS = 120_000;
const IGNORE_SHARED = [
  { capability: "x-ignore-shared", state: true },
  { capability: "events", state: true },
];

/** The machine the floor runs: the one the Kiln template it is compared with has. */
export interface FloorMachine {
  binary: string;
  accelerator: Accelerator;
  vcpu: number;
  memoryMib: number;
  kernel: { vmlinuz: string; initrd: string };
  /** File of the guest's memory. */
  memory: string;
  /** File of the device state. */
  state: string;
}

/**
 * The floor's machine: accelerator, CPU model, size, kernel and command line are taken from what Kiln gives QEMU, so
 * that they cannot drift apart; disk, sandboxing and everything else are the least that works.
 */
function floorArguments(
  machine: FloorMachine,
  disk: string,
  share: boolean,
  qmp: string,
  agent: string,
): string[] {
  const { accelerator, memoryMib, memory } = machine;
  const ofKiln = qemuArguments(
    { ...machine, directory: "", disk: { socketPath: "", exportName: "" } },
    accelerator,
    { file: memory, shared: share },
    { qmpSocket: qmp, agentSocket: agent, networkSocket: "", consoleLog: undefined },
  );
  const same = ["-M", "-accel", "-cpu", "-smp", "-m", "-kernel", "-initrd", "-append"].flatMap((option) => {
    const index = ofKiln.indexOf(option);
    return index === -1 ? [] : ofKiln.slice(index, index + 2);
  });
  return [
    ...same,
    "-object",
    `memory-backend-file,id=memory,size=${memoryMib}M,mem-path=${memory},share=${share ? "on" : "off"}`,
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "null"],
    ...["-drive", `id=disk,if=none,file=${disk},format=qcow2`, "-device", "virtio-blk-device,drive=disk"],
    ...["-device", "virtio-serial-device", "-chardev", `socket,id=agent,path=${agent},server=on,wait=off`],
    ...["-device", "virtserialport,chardev=agent,name=floor.agent"],
    ...["-qmp", `unix:${qmp},server=on,wait=off`],
  ];
}

/** A QEMU with nothing around it and the smallest agent inside. */
export class FloorVm implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #qmp: Socket;
  readonly #qmpLines: LineReader;
  readonly #folder: string;
  readonly #exitWithUs: () => void;
  #agent: { socket: Socket; lines: LineReader } | undefined;

  private constructor(child: ChildProcess, qmp: Socket, folder: string, exitWithUs: () => void) {
    this.pid = child.pid ?? -1;
    this.#child = child;
    this.#qmp = qmp;
    this.#qmpLines = new LineReader(qmp);
    this.#folder = folder;
    this.#exitWithUs = exitWithUs;
  }

  /** Starts QEMU and returns when its control socket is open. `folder` is for its sockets. */
  static async start(
    machine: FloorMachine,
    folder: string,
    disk: string,
    mode: "boot" | "resume",
  ): Promise<FloorVm> {
    const [qmpPath, agentPath] = [join(folder, "qmp"), join(folder, "agent")];
    await Promise.all([rm(qmpPath, { force: true }), rm(agentPath, { force: true })]);
    const args = floorArguments(machine, disk, mode === "boot", qmpPath, agentPath);
    const child = spawn(machine.binary, mode === "boot" ? args : [...args, "-incoming", "defer"], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const exitWithUs = () => child.kill("SIGKILL");
    process.once("exit", exitWithUs);
    const gone = new AbortController();
    child.once("error", (error) => gone.abort(error));
    child.once("exit", (code) => gone.abort(new Error(`the floor's QEMU ended with exit code ${code}`)));
    try {
      const until = AbortSignal.any([gone.signal, AbortSignal.timeout(PATIENCE_MS)]);
      const vm = new FloorVm(child, await connectRetrying(qmpPath, until), folder, exitWithUs);
      await vm.#qmpLines.next(until);
      await vm.execute("qmp_capabilities");
      await vm.execute("migrate-set-capabilities", { capabilities: IGNORE_SHARED });
      return vm;
    } catch (error) {
      child.kill("SIGKILL");
      process.off("exit", exitWithUs);
      throw error;
    }
  }

  /** One QMP command at a time: returns when it was answered. */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<void> {
    this.#qmp.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    await this.#qmpLine((line) => {
      if ("error" in line) throw new Error(`QEMU refused ${command}: ${JSON.stringify(line.error)}`);
      return "return" in line;
    });
  }

  /** Loads the device state and lets the guest run. */
  async loadState(state: string): Promise<void> {
    await this.execute("migrate-incoming", { uri: `exec:cat ${state}` });
    await this.#migrated();
    await this.execute("cont");
  }

  /** Stops the guest and writes its device state; its memory is in the memory file already. */
  async saveState(state: string): Promise<void> {
    await this.execute("stop");
    await this.execute("migrate", { uri: `exec:cat > ${state}` });
    await this.#migrated();
  }

  async #migrated(): Promise<void> {
    await this.#qmpLine(({ event, data }) => {
      const status =
        event === "MIGRATION" && typeof data === "object" && data && "status" in data ? data.status : "";
      if (status === "failed") throw new Error("the floor's QEMU could not migrate");
      return status === "completed";
    });
  }

  async #qmpLine(matches: (line: Record<string, unknown>) => boolean): Promise<void> {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    while (!matches(JSON.parse(await this.#qmpLines.next(deadline)))) {
      // An event nobody asked for.
    }
  }

  async #connectAgent(): Promise<{ socket: Socket; lines: LineReader }> {
    if (!this.#agent) {
      const socket = await connectRetrying(join(this.#folder, "agent"), AbortSignal.timeout(PATIENCE_MS));
      this.#agent = { socket, lines: new LineReader(socket) };
    }
    return this.#agent;
  }

  /** The next line the agent sends. */
  async line(): Promise<string> {
    return (await this.#connectAgent()).lines.next(AbortSignal.timeout(PATIENCE_MS));
  }

  /** Has the agent run `command` (words separated by blanks; `ping` is answered by the agent itself). */
  async ask(command: string): Promise<string> {
    const { socket, lines } = await this.#connectAgent();
    socket.write(`${command}\n`);
    return lines.next(AbortSignal.timeout(PATIENCE_MS));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#exitWithUs);
    this.#agent?.socket.destroy();
    this.#qmp.destroy();
    const gone = this.#child.exitCode !== null || this.#child.signalCode !== null;
    const exited = gone ? undefined : once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}
