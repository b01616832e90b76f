import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFloorDisk, runTool } from "./floor-disk.ts";
import { type FloorMachine, FloorVm } from "./floor-vm.ts";

/** Run before the snapshot, so that they are in the guest's page cache, as in a template of Kiln's. */
const WARM_UP = ["echo hi", "true", "/bin/sh -c true", "python3 -c pass"];

/** Boots of its template: a guest that says nothing is booted once more, as those of Kiln's templates are. */
const BOOTS = 2;

/** Where the time of one start went, in milliseconds, in the order it was spent. */
export interface FloorSpans {
  "overlay made by qemu-img": number;
  "QEMU up": number;
  "state loaded, guest running": number;
  "first echo": number;
}

/** A template of floor VMs: everything as in the Kiln template it stands beside, but for the agent and the disk. */
export class Floor {
  readonly #machine: FloorMachine;
  readonly #folder: string;
  readonly #disk: string;
  readonly #template: string;
  #next = 0;

  private constructor(machine: FloorMachine, folder: string, disk: string) {
    this.#machine = machine;
    this.#folder = folder;
    this.#disk = disk;
    this.#template = join(folder, "template.qcow2");
  }

  /** Puts `agent` into a copy of `rootfs`, boots it and takes the snapshot all floor VMs resume. */
  static async prepare(
    machine: Omit<FloorMachine, "memory" | "state">,
    rootfs: string,
    agent: string,
    folder: string,
    signal: AbortSignal,
  ): Promise<Floor> {
    const disk = await makeFloorDisk(rootfs, agent, folder, signal);
    const files = { memory: join(folder, "memory"), state: join(folder, "state") };
    const floor = new Floor({ ...machine, ...files }, folder, disk);
    for (let boots = 1; ; boots++) {
      try {
        await floor.#makeTemplate();
        return floor;
      } catch (error) {
        if (!(error instanceof DOMException && error.name === "TimeoutError") || boots === BOOTS) throw error;
        console.error("bench: the floor's guest did not answer: it is booted once more");
      }
    }
  }

  async #makeTemplate(): Promise<void> {
    const { memory, state } = this.#machine;
    await rm(memory, { force: true });
    await overlay(this.#disk, "raw", this.#template);
    await using vm = await FloorVm.start(this.#machine, await this.#makeFolder(), this.#template, "boot");
    await vm.line();
    for (const command of WARM_UP) await vm.ask(command);
    await vm.saveState(state);
  }

  async #makeFolder(): Promise<string> {
    const folder = join(this.#folder, `f${this.#next++}`);
    await mkdir(folder);
    return folder;
  }

  /** From nothing to a running guest whose agent has echoed, and how long that took. */
  async create(): Promise<{ vm: FloorVm; ms: number; spans: FloorSpans }> {
    const folder = await this.#makeFolder();
    const times = [performance.now()];
    const disk = join(folder, "disk.qcow2");
    await overlay(this.#template, "qcow2", disk);
    times.push(performance.now());
    const vm = await FloorVm.start(this.#machine, folder, disk, "resume");
    try {
      times.push(performance.now());
      await vm.loadState(this.#machine.state);
      times.push(performance.now());
      const output = await vm.ask("echo hi");
      times.push(performance.now());
      if (output !== "hi|") throw new Error(`the floor's agent answered "${output}"`);
    } catch (error) {
      await vm[Symbol.asyncDispose]();
      throw error;
    }
    const [t0 = 0, t1 = 0, t2 = 0, t3 = 0, t4 = 0] = times;
    const spans: FloorSpans = {
      "overlay made by qemu-img": t1 - t0,
      "QEMU up": t2 - t1,
      "state loaded, guest running": t3 - t2,
      "first echo": t4 - t3,
    };
    return { vm, ms: t4 - t0, spans };
  }

  /** Milliseconds from starting QEMU to the agent's first word, without a snapshot. */
  async boot(): Promise<number> {
    const folder = await this.#makeFolder();
    const disk = join(folder, "disk.qcow2");
    const memory = join(folder, "memory");
    try {
      await overlay(this.#disk, "raw", disk);
      const started = performance.now();
      await using vm = await FloorVm.start({ ...this.#machine, memory }, folder, disk, "boot");
      await vm.line();
      return performance.now() - started;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

function overlay(backing: string, format: string, path: string): Promise<void> {
  return runTool("qemu-img", ["create", "-q", "-f", "qcow2", "-b", backing, "-F", format, path]);
}
