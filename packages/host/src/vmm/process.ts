import { KilnError } from "../errors.ts";
import { killProcess } from "../os/kill-process.ts";
import type { ProcessId } from "../os/process-id.ts";
import { Cgroup, type CgroupLimits } from "./jail/cgroups.ts";
import type { Launcher, LauncherLine } from "./jail/launcher.ts";
import { lastWords } from "./log.ts";
import type { VmExit } from "./vmm.ts";

/** A process that runs a VM, whoever started it. */
export interface VmmProcess {
  readonly id: ProcessId;
  readonly exited: Promise<VmExit>;
  /** Fires, with the reason as KilnError, when it is gone. */
  readonly gone: AbortSignal;
  stop(): Promise<void>;
  /** Lets it run on when its control connection ends. */
  release(): void;
}

export interface LaunchOptions {
  /** What it is called in messages: `QEMU`. */
  program: string;
  /** What a launcher is told to lock it up. */
  jail: readonly LauncherLine[];
  /** A file that it reads as its descriptor 3. */
  input?: string | undefined;
  /** Whether the host's kernel is to give it no large pages. */
  smallPages?: boolean | undefined;
  /** Whether it outlives this process. @default false */
  detached?: boolean | undefined;
  /** File for what it has to say. @default it is kept in memory, as far as `exited` tells of it */
  log?: string | undefined;
  /** File that takes the place of its standard output. @default it is thrown away */
  output?: string | undefined;
  /** Variables it has beside PATH. */
  env?: Readonly<Record<string, string>>;
  /** Folder of the VM, which its control group is named after, and what it may use. */
  cgroup: CgroupLimits & { directory: string };
}

/** Makes an abort signal of an exit. */
export function goneSignal(exited: Promise<VmExit>): AbortSignal {
  const gone = new AbortController();
  void exited.then((exit) => gone.abort(new KilnError("VM_FAILED", exit.reason)));
  return gone.signal;
}

/** A VMM that is this process's child. It dies with this process unless it is detached. */
export class VmmChild implements VmmProcess {
  readonly id: ProcessId;
  readonly exited: Promise<VmExit>;
  readonly gone: AbortSignal;
  /** Resolves when it is in its control group: it is put there while it starts. Nothing of its guest is to run before. */
  readonly confined: Promise<void>;
  readonly #stop: () => void;

  private constructor(id: ProcessId, exited: Promise<VmExit>, confined: Promise<void>, stop: () => void) {
    this.id = id;
    this.exited = exited;
    this.gone = goneSignal(exited);
    this.confined = confined;
    this.#stop = stop;
  }

  /** Has `launcher` become the VMM. @throws KilnError `VM_FAILED` when it cannot be started. */
  static async start(
    launcher: Launcher,
    command: [string, readonly string[]],
    { program, jail, input, smallPages, detached = false, log, output, env, cgroup }: LaunchOptions,
  ): Promise<VmmChild> {
    const making = Cgroup.make(cgroup.directory, cgroup);
    const { process: forked } = launcher;
    const environment = { PATH: process.env.PATH ?? "", TMPDIR: "/nonexistent", ...env };
    launcher.become(
      [
        ...jail,
        ...Object.entries(environment).map((entry): LauncherLine => ["variable", ...entry]),
        ...(log === undefined ? [] : [["error", log]]),
        ...(output === undefined ? [] : [["output", output]]),
        ...(input === undefined ? [] : [["input", input]]),
        ...(smallPages ? [["small-pages"]] : []),
        ...(detached ? [["outlive"]] : []),
      ],
      command,
      // Detached, it is no reason for this process to stay.
      !detached,
    );
    let stopping = false;
    const confined = making.then(async (group) => {
      if (forked.pid !== undefined) await group.add(forked.pid);
    });
    confined.catch(() => undefined); // Whoever starts it waits for it.
    const exited = ended(program, launcher, log, () => stopping).then(async (exit) => {
      const group = await making.catch(() => undefined);
      await confined.catch(() => undefined);
      await group?.remove();
      return exit;
    });
    const id = forked.id;
    if (id === undefined) throw new KilnError("VM_FAILED", `the VM did not start: ${(await exited).reason}`);
    return new VmmChild(id, exited, confined, () => {
      stopping = true;
      forked.kill();
    });
  }

  async stop(): Promise<void> {
    this.#stop();
    await this.exited;
  }

  release(): void {
    // A child that is detached needs nothing to run on.
  }
}

async function ended(
  program: string,
  { process: forked }: Launcher,
  log: string | undefined,
  stopping: () => boolean,
): Promise<VmExit> {
  const { code, signal } = await forked.ended;
  // One that ended by itself did so before it was stopped, though that may have been because of its end.
  const expected = stopping() && code === null && (signal === null || signal === "SIGKILL");
  const said = log === undefined ? forked.lastWords : await lastWords(log);
  const how = describeEnd(program, code, signal);
  return { expected, reason: said === "" ? how : `${how}: ${said}` };
}

function describeEnd(program: string, code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return `${program} was killed by ${signal}`;
  return code === null ? `${program} ended` : `${program} ended with exit code ${code}`;
}

/** A VMM that another process started. Its end shows in the end of its control connection. */
export class AdoptedVmm implements VmmProcess {
  readonly id: ProcessId;
  readonly exited: Promise<VmExit>;
  readonly gone: AbortSignal;
  #stopping = false;
  #released = false;

  /**
   * @param cgroup the groups it is in.
   * @param disconnected resolves when its control connection has ended.
   */
  constructor(program: string, id: ProcessId, log: string, cgroup: Cgroup, disconnected: Promise<void>) {
    this.id = id;
    this.exited = disconnected.then(async () => {
      if (this.#released) return new Promise<never>(() => undefined);
      // A VMM that nobody controls is of no use, so one that only lost its connection goes as well.
      await killProcess(id, { patienceMs: this.#stopping ? 0 : DISCONNECTED_PATIENCE_MS });
      await cgroup.remove();
      const said = await lastWords(log);
      return {
        expected: this.#stopping,
        reason: said === "" ? `${program} ended` : `${program} ended: ${said}`,
      };
    });
    this.gone = goneSignal(this.exited);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await killProcess(this.id);
    await this.exited;
  }

  release(): void {
    this.#released = true;
  }
}

/** How long a VMM whose control connection ended may take to be gone, in milliseconds. */
const DISCONNECTED_PATIENCE_MS = 2_000;
