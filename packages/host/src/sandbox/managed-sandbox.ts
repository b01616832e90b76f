import { EventEmitter } from "node:events";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { isSealed } from "../block/disk/sealed.ts";
import { KilnError } from "../errors.ts";
import type { GuestAgent } from "../guest/agent.ts";
import { killProcess } from "../os/kill-process.ts";
import { Mutex } from "../os/mutex.ts";
import { exercise } from "../snapshot/warm-up.ts";
import {
  adoptVm,
  connectVm,
  discardVm,
  diskOptions,
  greet,
  type LiveContext,
  type LiveVm,
  startVm,
  vmFolder,
} from "./live-vm.ts";
import { type SandboxRecord, type SandboxState, writeRecord } from "./sandbox-record.ts";
import { goOn, type SavedVm, saveVm } from "./save-vm.ts";
import { shortenChain } from "./shorten-chain.ts";
import { newLayer } from "./storage.ts";

/** Where a sandbox's memory and disk were kept, for others to go on from. */
export interface SavedState extends SavedVm {
  /** Names of the layers its disk goes on from, lowest first. */
  layers: string[];
}

/**
 * One sandbox of the daemon: its record on disk, and its VM while there is one. Its changes of state happen one
 * after the other, and each is on disk before it is acknowledged.
 */
export class ManagedSandbox {
  readonly #context: LiveContext;
  readonly #mutex = new Mutex();
  readonly #events = new EventEmitter<{ change: []; released: [names: string[]] }>();
  #record: SandboxRecord;
  #live: LiveVm | undefined;
  #removed = false;

  constructor(context: LiveContext, record: SandboxRecord) {
    this.#context = context;
    this.#record = record;
    this.#events.setMaxListeners(0);
  }

  get id(): string {
    return this.#record.id;
  }

  get record(): Readonly<SandboxRecord> {
    return this.#record;
  }

  get state(): SandboxState {
    return this.#record.state;
  }

  /** Asked where the compiler takes an earlier look for granted. */
  #is(state: SandboxState): boolean {
    return this.#record.state === state;
  }

  /** Whether it was killed: it is forgotten then. */
  get removed(): boolean {
    return this.#removed;
  }

  /** The VM while there is one. */
  get live(): LiveVm | undefined {
    return this.#live;
  }

  /** Calls `listener` after every change of state, until the function it returns is called. */
  onChange(listener: () => void): () => void {
    this.#events.on("change", listener);
    return () => this.#events.off("change", listener);
  }

  /** The agent of a sandbox that runs. @throws KilnError `SANDBOX_STATE` for any other. */
  get agent(): GuestAgent {
    if (this.#live && !this.#removed && this.state !== "dead") return this.#live.agent;
    throw this.#wrongState("running");
  }

  #wrongState(wanted: string): KilnError {
    if (this.#removed) return new KilnError("SANDBOX_NOT_FOUND", `the sandbox ${this.id} was killed`);
    const hint =
      this.state === "paused"
        ? "resume it first"
        : this.state === "dead"
          ? "it has to be created anew"
          : undefined;
    const reason = this.#record.reason === undefined ? "" : `: ${this.#record.reason}`;
    return new KilnError(
      "SANDBOX_STATE",
      `the sandbox ${this.id} is ${this.state}${reason}; it has to be ${wanted}`,
      {
        ...(hint === undefined ? {} : { hint }),
        details: { state: this.state },
      },
    );
  }

  async #write(change: Partial<SandboxRecord>, durable = false): Promise<void> {
    const record = { ...this.#record, ...change };
    await writeRecord(this.#context.home, record, durable);
    this.#record = record;
    this.#events.emit("change");
  }

  /** Changes what has nothing to do with its VM. */
  update(
    change: Partial<Pick<SandboxRecord, "metadata" | "expiresAt" | "onTimeout" | "env" | "held" | "network">>,
  ): Promise<void> {
    return this.#mutex.run(async () => {
      if (this.#removed) throw this.#wrongState("there");
      await this.#write(change);
    });
  }

  /** Starts a sandbox whose record is `creating`. It is gone again when that fails. */
  start(signal?: AbortSignal): Promise<void> {
    return this.#mutex.run(async () => {
      await writeRecord(this.#context.home, this.#record);
      const live = await startVm(this.#context, this.#record, signal);
      await this.#goLive(live);
    });
  }

  /** Turns a VM that runs but belongs to nobody yet into somebody's sandbox. */
  claim(change: Partial<SandboxRecord>): Promise<void> {
    return this.#mutex.run(async () => {
      const live = this.#live;
      if (!live || this.state === "dead") throw this.#wrongState("running");
      const { maxProcesses } = this.#record;
      this.#record = { ...this.#record, ...change };
      await connectVm(this.#context, this.#record, live.vm);
      // It knows who it is since it was started.
      if (this.#record.maxProcesses !== maxProcesses) {
        const source = { ...this.#record.source, generation: live.agent.generation };
        void greet(live.agent, { ...this.#record, source });
      }
      await this.#write({ state: "running" });
    });
  }

  async #goLive(live: LiveVm, state: "running" | "creating" = "running"): Promise<void> {
    try {
      await this.#write({ state, process: live.vm.processId });
    } catch (error) {
      await discardVm(this.#context, this.id, live);
      throw error;
    }
    this.#live = live;
    void live.vm.exited.then((exit) => {
      if (!exit.expected) void this.#mutex.run(() => this.#died(live, exit.reason)).catch(() => undefined);
    });
  }

  /** Starts a VM that waits for `claim`; a restart of the daemon removes it. */
  startStandby(signal?: AbortSignal): Promise<void> {
    return this.#mutex.run(async () => {
      await writeRecord(this.#context.home, this.#record);
      const live = await startVm(this.#context, this.#record, signal);
      await this.#goLive(live, "creating");
      await exercise(live.agent);
    });
  }

  async #died(live: LiveVm, reason: string): Promise<void> {
    if (this.#live !== live || this.#removed) return;
    this.#live = undefined;
    live.agent.fail(new KilnError("VM_FAILED", `the sandbox's VM is gone: ${reason}`));
    await discardVm(this.#context, this.id, live).catch(() => undefined);
    await this.#markDead(reason);
  }

  async #markDead(reason: string): Promise<void> {
    await this.#write({ state: "dead", reason, process: undefined, endedAt: new Date().toISOString() });
    await rm(vmFolder(this.#context.home, this.id), { recursive: true, force: true });
    this.#release();
  }

  /** Calls `listener` with names of what it held on disk, when it no longer needs all of them. */
  onReleased(listener: (names: string[]) => void): void {
    this.#events.on("released", listener);
  }

  /** Everything that `record` holds on disk. */
  #release({ source, disk }: SandboxRecord = this.#record): void {
    this.#events.emit("released", [source.folder, ...disk.layers, disk.diff, disk.nextDiff ?? ""]);
  }

  /** Memory and disk to files, VM gone. When it fails the sandbox runs on. @throws KilnError `SANDBOX_STATE`. */
  pause(): Promise<void> {
    return this.#mutex.run(async () => {
      const live = this.#live;
      if (this.state === "paused") return;
      if (!live || this.state !== "running") throw this.#wrongState("running");
      const { home, networks } = this.#context;
      const { disk, source } = this.#record;
      await this.#write({ state: "pausing", disk: { ...disk, nextDiff: newLayer() } });
      let saved: SavedVm;
      try {
        saved = await saveVm(home, live);
      } catch (error) {
        if (this.#is("pausing")) await this.#write({ state: "running", disk });
        throw error;
      }
      try {
        await this.#write({ source: saved, saved: true }, true);
        await live.disk.seal();
      } catch (error) {
        if (!(await isSealed(join(home.root, disk.diff)))) {
          await this.#write({ state: "running", source, saved: undefined, disk });
          await rm(join(home.root, saved.folder), { recursive: true, force: true });
          await goOn(live);
          throw error;
        }
      }
      await this.#becomePaused();
      this.#live = undefined;
      live.agent.fail(this.#wrongState("running"));
      await live.vm.stop();
      await networks.remove(this.id);
      await rm(vmFolder(home, this.id), { recursive: true, force: true });
      this.#release({ ...this.#record, source }); // Memory that was still arriving.
      await this.#mergePaused();
    });
  }

  /** Keeps the chain of a paused sandbox's layers short, however often it is paused. */
  async #mergePaused(): Promise<void> {
    const before = this.#record;
    const { disk } = before;
    const layers = await shortenChain(this.#context.home, disk.layers);
    if (layers === disk.layers) return;
    await this.#write({ disk: { ...disk, layers } }, true);
    this.#release(before);
  }

  /** From here on it is paused: its memory is complete and its diff is sealed. */
  async #becomePaused(): Promise<void> {
    const { diff, nextDiff, ...disk } = this.#record.disk;
    await this.#write(
      {
        state: "paused",
        saved: undefined,
        process: undefined,
        disk: { ...disk, layers: [...disk.layers, diff], diff: nextDiff ?? newLayer() },
      },
      true,
    );
  }

  /**
   * Keeps a paused sandbox as it is while `work` hands it over. What `work` notes is on disk before it goes on.
   * @throws KilnError `SANDBOX_STATE`.
   */
  whilePaused<T>(
    work: (record: SandboxRecord, note: (moved: string) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    return this.#mutex.run(async () => {
      if (this.state !== "paused" || this.#removed) throw this.#wrongState("paused");
      return work(this.#record, (moved) => this.#write({ moved }, true));
    });
  }

  /** Keeps the record of a sandbox that came from another node. */
  settle(): Promise<void> {
    return this.#mutex.run(() => this.#write({}, true));
  }

  /** Takes back what was handed over and nobody else has taken. @throws KilnError `CONFLICT` when somebody has. */
  async #takeBack(): Promise<void> {
    const { moved } = this.#record;
    if (moved === undefined) return;
    const { reclaim } = await import("./hand-over.ts");
    await reclaim(this.#context.home, this.id, moved);
    await this.#write({ moved: undefined }, true);
  }

  /** Goes on from where it was paused. @throws KilnError `SANDBOX_STATE`, `CONFLICT` when it goes on elsewhere. */
  resume(signal?: AbortSignal): Promise<void> {
    return this.#mutex.run(async () => {
      if (this.state === "running") return;
      if (this.state !== "paused") throw this.#wrongState("paused");
      await this.#takeBack();
      const { home } = this.#context;
      // Whatever an attempt that was cut off has written there was never acknowledged.
      await rm(join(home.root, this.#record.disk.diff), { recursive: true, force: true });
      await this.#write({ state: "resuming" });
      try {
        const live = await startVm(this.#context, this.#record, signal);
        await this.#goLive(live);
      } catch (error) {
        await this.#write({ state: "paused", process: undefined });
        throw error;
      }
      this.#release(); // The VM has its memory file open: its name is not needed any more.
    });
  }

  /**
   * Keeps memory and disk as they are now for others, and goes on. `pin` is told what must not be removed, before
   * anybody else could kill this sandbox.
   * @throws KilnError `SANDBOX_STATE`.
   */
  checkpoint(pin: (names: string[]) => void): Promise<SavedState> {
    return this.#mutex.run(async () => {
      const live = this.#live;
      if (!live || this.state !== "running") throw this.#wrongState("running");
      const { home } = this.#context;
      const before = this.#record;
      const { disk } = before;
      const path = (name: string) => join(home.root, name);
      const below = await shortenChain(home, disk.layers);
      const next = newLayer();
      await this.#write({ disk: { ...disk, nextDiff: next } });
      let saved: SavedVm | undefined;
      try {
        saved = await saveVm(home, live);
        await live.disk.rotate(path(next), below.map(path));
      } catch (error) {
        if (saved !== undefined) {
          await rm(path(saved.folder), { recursive: true, force: true });
          await goOn(live);
        }
        // Sealed it is, whatever became of the answer: the diff above it takes the writes from then on.
        const sealed = await isSealed(path(disk.diff));
        await this.#write({ disk: sealed ? { ...disk, layers: [...below, disk.diff], diff: next } : disk });
        throw error;
      }
      const layers = [...below, disk.diff];
      await this.#write({ disk: { ...disk, layers, diff: next } });
      pin([saved.folder, ...layers]);
      if (below !== disk.layers) this.#release(before);
      await goOn(live);
      return { ...saved, layers };
    });
  }

  /** Ends it and forgets it. */
  kill(): Promise<void> {
    return this.#mutex.run(async () => {
      if (this.#removed) return;
      const live = this.#live;
      this.#removed = true;
      this.#live = undefined;
      this.#events.emit("change");
      if (live) {
        live.agent.fail(new KilnError("SANDBOX_NOT_FOUND", `the sandbox ${this.id} was killed`));
        await discardVm(this.#context, this.id, live);
      }
      this.#release();
    });
  }

  /** Lets go of its VM, which runs on. */
  release(): Promise<void> {
    return this.#mutex.run(async () => {
      const live = this.#live;
      this.#live = undefined;
      if (!live) return;
      await live.vm.release();
      live.agent.fail(new KilnError("SHUTTING_DOWN", "the daemon ends; the sandbox goes on"));
    });
  }

  /** Ends the VM a former daemon left, also where nothing is known of its engine any more. */
  async #endLeftVm(): Promise<void> {
    const { home, engines } = this.#context;
    const { engine, process } = this.#record;
    const vmm = await engines.of(engine).catch(() => undefined);
    if (vmm) await vmm.kill(vmFolder(home, this.id));
    else if (process !== undefined) await killProcess(process);
    await rm(vmFolder(home, this.id), { recursive: true, force: true });
  }

  /** Takes up what a former daemon left of it. Afterwards it runs, is paused, or is dead with a reason. */
  adopt(): Promise<void> {
    return this.#mutex.run(async () => {
      const { home } = this.#context;
      const { state, saved, disk } = this.#record;
      if (state === "dead") return;
      if (state === "paused") {
        // It was noted as paused before its VM was ended.
        if (existsSync(vmFolder(home, this.id))) await this.#endLeftVm();
        return;
      }
      if (state === "resuming") {
        await this.#endLeftVm();
        await this.#write({ state: "paused", process: undefined });
        return;
      }
      const sealed = disk.nextDiff !== undefined && (await isSealed(join(home.root, disk.diff)));
      if (state === "pausing" && saved) {
        await this.#endLeftVm();
        if (!sealed) await this.#context.disks.seal(diskOptions(home, this.#record));
        await this.#becomePaused();
        return;
      }
      const { nextDiff, ...rest } = disk;
      if (sealed && nextDiff !== undefined) {
        await this.#write({ disk: { ...rest, layers: [...disk.layers, disk.diff], diff: nextDiff } });
      } else if (nextDiff !== undefined) await this.#write({ disk: rest });
      try {
        await this.#goLive(await adoptVm(this.#context, this.#record)); // One that was being paused runs on.
      } catch (error) {
        await this.#endLeftVm();
        await this.#markDead(error instanceof Error ? error.message : String(error));
      }
    });
  }
}
