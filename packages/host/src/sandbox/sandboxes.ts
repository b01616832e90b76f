import type { DiskService } from "../block/disk-service.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import type { NetworkService } from "../network/network-service.ts";
import { sweepCgroups } from "../vmm/jail/cgroups.ts";
import { Admission } from "./admission.ts";
import type { Engines } from "./engine.ts";
import { Expiry } from "./expiry.ts";
import { Holdings } from "./holdings.ts";
import type { Launchable } from "./launchable.ts";
import type { Limits } from "./limits.ts";
import { ManagedSandbox } from "./managed-sandbox.ts";
import { type CreateOptions, newRecord } from "./new-record.ts";
import { SANDBOX_ID } from "./sandbox-id.ts";
import { readRecords, type SandboxRecord } from "./sandbox-record.ts";
import { type SavedTemplate, writeSavedTemplate } from "./saved-template.ts";
import { Standby } from "./standby.ts";
import { removeSandboxFolder, sweepStorage } from "./storage.ts";

/** How long a dead sandbox stays listed, in milliseconds. */
const DEAD_SHOWN_MS = 24 * 3600 * 1000;

/** The only engine whose sandboxes can be handed over to the store so far. */
const HANDED_OVER_ENGINE = "qemu";

/** A sandbox that was handed over to the store. */
export interface PushedSandbox {
  id: string;
  /** Its address there. */
  digest: string;
  /** Bytes. */
  sent: number;
  reused: number;
}

export interface SandboxesOptions {
  home: KilnHome;
  disks: DiskService;
  networks: NetworkService;
  engines: Engines;
  limits: Limits;
  /** How many standby VMs are kept of each template. */
  pool: Readonly<Record<string, number>>;
  /** What sandboxes of a template in its own size start from, or undefined while it is not built. */
  findTemplate: (template: string) => Promise<Launchable | undefined>;
  /** Told of each create of a pooled template whether a standby VM was there. */
  onPool: (template: string, hit: boolean) => void;
  /** Told of everything that happens outside a request: expiry, deaths, adoption. */
  log: (message: string, fields: Record<string, unknown>) => void;
}

/** Every sandbox of a daemon. */
export class Sandboxes {
  readonly #options: SandboxesOptions;
  readonly #all = new Map<string, ManagedSandbox>();
  readonly #admission: Admission;
  readonly #expiry: Expiry;
  readonly #standby: Standby;
  readonly holdings: Holdings;

  constructor(options: SandboxesOptions) {
    this.#options = options;
    this.holdings = new Holdings(options.home, () => this.records);
    const { home, limits } = options;
    this.#admission = new Admission({ home, limits, records: () => this.records });
    this.#expiry = new Expiry((id) => this.#expire(id));
    this.#standby = new Standby({
      wanted: options.pool,
      find: options.findTemplate,
      start: (launchable) => this.#startStandby(launchable),
      kill: (sandbox) => this.kill(sandbox),
      onError: (template, error) => options.log("a standby VM failed", { template, error: String(error) }),
    });
  }

  /** Those that belong to somebody. */
  #owned(): ManagedSandbox[] {
    return [...this.#all.values()].filter(({ record }) => !record.standby);
  }

  /** Those there are, oldest first. */
  list(): ManagedSandbox[] {
    return this.#owned().sort((a, b) =>
      a.record.createdAt < b.record.createdAt
        ? -1
        : a.record.createdAt > b.record.createdAt
          ? 1
          : a.id < b.id
            ? -1
            : 1,
    );
  }

  get records(): SandboxRecord[] {
    return [...this.#all.values()].map(({ record }) => record);
  }

  /**
   * The sandbox whose id begins with `id`.
   * @throws KilnError `SANDBOX_NOT_FOUND`; `CONFLICT` when several do.
   */
  get(id: string): ManagedSandbox {
    const exact = this.#all.get(id);
    if (exact && !exact.record.standby) return exact;
    const found = SANDBOX_ID.test(id) ? this.#owned().filter((sandbox) => sandbox.id.startsWith(id)) : [];
    if (found.length > 1) {
      throw new KilnError("CONFLICT", `"${id}" is the beginning of ${found.length} ids`, {
        hint: "write more of it",
        details: { ids: found.slice(0, 10).map((sandbox) => sandbox.id) },
      });
    }
    const [only] = found;
    if (only) return only;
    throw new KilnError("SANDBOX_NOT_FOUND", `there is no sandbox "${id.slice(0, 64)}"`, {
      hint: "kiln ls lists them",
    });
  }

  /** Takes up what a former daemon left, and removes what belongs to nobody. Before anything else is asked of this. */
  async open(): Promise<void> {
    const { home, disks, log } = this.#options;
    const { records, broken } = await readRecords(home);
    for (const { id, empty } of broken) {
      if (empty) await removeSandboxFolder(home, id);
      else log("a sandbox's record cannot be read; its files are left alone", { sandbox: id });
    }
    const unfinished = records.filter(({ state }) => state === "creating");
    const kept = records.filter(({ state }) => state !== "creating");
    // VMs first: one of a sandbox whose creation was cut off may be running.
    const keptIds = kept.map(({ id }) => id);
    for (const vmm of await this.#options.engines.all()) await vmm.killOthers(home.sandboxes, keptIds);
    for (const { id } of unfinished) await removeSandboxFolder(home, id);
    for (const record of kept) this.#watch(new ManagedSandbox(this.#options, record));
    await Promise.all(
      this.list().map(async (sandbox) => {
        const before = sandbox.state;
        await sandbox.adopt();
        if (sandbox.state !== before || sandbox.state === "running") {
          log(`found ${before}, is ${sandbox.state}`, { sandbox: sandbox.id, reason: sandbox.record.reason });
        }
      }),
    );
    await Promise.all([disks.discardOthers(), sweepCgroups()]);
    await this.#attachNetworks();
    if (broken.every(({ empty }) => empty)) await sweepStorage(home, this.records);
    this.#standby.refill();
  }

  /** Takes up the network server of a former daemon for the VMs that still run. */
  async #attachNetworks(): Promise<void> {
    const kept = this.list().flatMap(({ id, live, record }) =>
      live && record.network !== "none"
        ? [{ id, socketPath: live.vm.networkSocket, policy: record.network }]
        : [],
    );
    await this.#options.networks.attach(kept);
  }

  #watch(sandbox: ManagedSandbox): void {
    this.#all.set(sandbox.id, sandbox);
    const follow = () => {
      const { state, expiresAt, endedAt } = sandbox.record;
      const at =
        state === "dead" ? Date.parse(endedAt ?? "") + DEAD_SHOWN_MS : expiresAt && Date.parse(expiresAt);
      this.#expiry.set(sandbox.id, sandbox.removed || !at || state === "paused" ? undefined : at);
    };
    sandbox.onChange(follow);
    follow();
    sandbox.onReleased((names) => {
      void this.holdings.release(names).catch((error) =>
        this.#options.log("files of a sandbox could not be removed", {
          sandbox: sandbox.id,
          error: String(error),
        }),
      );
    });
  }

  /** Keeps memory and disk of `sandbox` as they are now, and lets nobody remove them while `work` is under way. */
  async #checkpoint<T>(sandbox: ManagedSandbox, work: (launchable: Launchable) => Promise<T>): Promise<T> {
    using pins = new DisposableStack();
    const pinned: string[] = [];
    try {
      const { folder, generation, layers } = await sandbox.checkpoint((names) => {
        pins.use(this.holdings.pins.add([...names, sandbox.record.disk.base]));
        pinned.push(...names);
      });
      const { template, vcpu, memoryMib, env, engine, kernel, disk } = sandbox.record;
      const { base, sizeBytes } = disk;
      const source = { folder, generation };
      return await work({ template, vcpu, memoryMib, env, engine, kernel, source, base, sizeBytes, layers });
    } finally {
      pins.dispose();
      await this.holdings.release(pinned);
    }
  }

  #expire(id: string): void {
    const sandbox = this.#all.get(id);
    if (!sandbox) return;
    const { state, onTimeout } = sandbox.record;
    const { log } = this.#options;
    const action = state === "dead" || onTimeout === "kill" ? "kill" : "pause";
    if (state !== "dead") log(`its time is over: ${action}`, { sandbox: id });
    const done = action === "kill" ? this.kill(sandbox) : sandbox.pause();
    done.catch((error) => {
      log(`it could not be ${action === "kill" ? "killed" : "paused"} at its timeout`, {
        sandbox: id,
        error: String(error),
      });
      // What does not pause must not run for ever either.
      if (action === "pause" && sandbox.state === "running") void this.kill(sandbox).catch(() => undefined);
    });
  }

  #newRecord(launchable: Launchable, options: CreateOptions, parent?: string): SandboxRecord {
    return newRecord(this.#options.limits, launchable, options, parent);
  }

  /**
   * Reserves room for `records`, all of one template, and lists them as being created.
   * @throws RemovedError when what they start from was removed before they were listed.
   */
  async #admit(records: SandboxRecord[]): Promise<ManagedSandbox[]> {
    const [asked] = records;
    if (asked === undefined) return [];
    const admitted = await this.#admission.letIn(records.length, asked.memoryMib, () =>
      records.map((record) => {
        const sandbox = new ManagedSandbox(this.#options, record);
        this.#watch(sandbox);
        return sandbox;
      }),
    );
    const [first] = admitted;
    if (first === undefined) return admitted;
    try {
      await this.holdings.check(first.record);
      return admitted;
    } catch (error) {
      await Promise.all(admitted.map((sandbox) => this.kill(sandbox)));
      throw error;
    }
  }

  async #start(sandbox: ManagedSandbox, signal?: AbortSignal): Promise<ManagedSandbox> {
    try {
      await sandbox.start(signal);
      return sandbox;
    } catch (error) {
      await this.kill(sandbox);
      throw error;
    }
  }

  /**
   * Creates a sandbox; it runs when this resolves.
   * @throws KilnError `LIMIT_REACHED`, `CAPACITY`, `VM_FAILED`, `BLOCK_FAILED`, `CANCELLED`; RemovedError when what it starts from
   * was removed meanwhile.
   */
  async create(
    launchable: Launchable,
    options: CreateOptions,
    signal?: AbortSignal,
  ): Promise<ManagedSandbox> {
    // A standby VM's disk has the daemon's own limit.
    const standby = options.maxDiskMib === undefined ? this.#standby.take(launchable) : undefined;
    if (standby || this.#standby.isPooled(launchable.template)) {
      this.#options.onPool(launchable.template, standby !== undefined);
      this.#standby.refill();
    }
    if (standby) {
      const { id: _, machineId: __, disk: ___, ...rest } = this.#newRecord(launchable, options);
      try {
        await standby.claim({ ...rest, standby: undefined });
        return standby;
      } catch {
        await this.kill(standby); // It died while it waited.
      }
    }
    const [sandbox] = await this.#admit([this.#newRecord(launchable, options)]);
    if (!sandbox) throw new KilnError("INTERNAL", "no sandbox was admitted");
    return this.#start(sandbox, signal);
  }

  /** Starts a VM that waits for somebody to want it. */
  async #startStandby(launchable: Launchable): Promise<ManagedSandbox> {
    const nobody: CreateOptions = {
      env: {},
      metadata: {},
      timeoutMs: null,
      onTimeout: "kill",
      network: "none",
      held: false,
    };
    const [sandbox] = await this.#admit([{ ...this.#newRecord(launchable, nobody), standby: true }]);
    if (!sandbox) throw new KilnError("INTERNAL", "no sandbox was admitted");
    try {
      await sandbox.startStandby();
      return sandbox;
    } catch (error) {
      await this.kill(sandbox);
      throw error;
    }
  }

  /** Resumes a paused sandbox. `timeoutMs` counts from now; without it, what was left of its timeout counts no more. */
  async resume(
    sandbox: ManagedSandbox,
    timeoutMs: number | null | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    if (sandbox.state === "running") return;
    const { expiresAt } = sandbox.record;
    using _room = await this.#admission.letInAgain(sandbox.record);
    const late = expiresAt !== null && Date.parse(expiresAt) <= Date.now();
    if (typeof timeoutMs === "number") {
      await sandbox.update({ expiresAt: new Date(Date.now() + timeoutMs).toISOString() });
    } else if (timeoutMs === null || late) await sandbox.update({ expiresAt: null });
    await sandbox.resume(signal);
  }

  /** `count` sandboxes that go on from where `parent` is now; `parent` goes on as well. */
  async fork(parent: ManagedSandbox, count: number, signal?: AbortSignal): Promise<ManagedSandbox[]> {
    await this.#admission.check(count, parent.record.memoryMib);
    return this.#checkpoint(parent, async (launchable) => {
      const { env, metadata, onTimeout, network, expiresAt, maxDiskMib, maxProcesses } = parent.record;
      const timeoutMs = expiresAt === null ? null : Math.max(0, Date.parse(expiresAt) - Date.now());
      const options: CreateOptions = {
        env,
        metadata,
        timeoutMs,
        onTimeout,
        network,
        maxDiskMib,
        maxProcesses,
        held: false,
      };
      const records = Array.from({ length: count }, () => this.#newRecord(launchable, options, parent.id));
      const children = await this.#admit(records);
      const started = await Promise.allSettled(children.map((child) => this.#start(child, signal)));
      const failed = started.find((result) => result.status === "rejected");
      if (failed) {
        await Promise.all(children.map((child) => this.kill(child)));
        throw failed.reason;
      }
      return children;
    });
  }

  /** Makes a template of `sandbox` as it is now; the sandbox goes on. */
  snapshot(sandbox: ManagedSandbox, name: string): Promise<SavedTemplate> {
    return this.#checkpoint(sandbox, async ({ template: from, ...rest }) => {
      const createdAt = new Date().toISOString();
      const template: SavedTemplate = { format: 1, name, from, createdAt, ...rest };
      await writeSavedTemplate(this.#options.home, template);
      return template;
    });
  }

  /**
   * Hands a paused sandbox over to the node's store, for any node to go on with, and forgets it.
   * @throws KilnError `SANDBOX_STATE`, `STORE_UNAVAILABLE`, `USAGE` when this node uses no store.
   */
  async push(sandbox: ManagedSandbox, signal?: AbortSignal): Promise<PushedSandbox> {
    const { home, engines } = this.#options;
    const { handOver } = await import("./hand-over.ts");
    const pushed = await sandbox.whilePaused(async (record, note) =>
      handOver(home, record, await engines.of(record.engine), note, signal),
    );
    await this.kill(sandbox);
    return { id: sandbox.id, ...pushed };
  }

  /**
   * Takes a sandbox that was handed over out of the node's store. It is paused, and this node's alone.
   * @throws KilnError `SANDBOX_NOT_FOUND`, `CONFLICT` when another node was first, `HOST_UNSUPPORTED`, `LIMIT_REACHED`, `STORE_…`.
   */
  async pull(id: string, signal?: AbortSignal): Promise<ManagedSandbox> {
    const present = this.#all.get(id);
    if (present) return present; // It never left, or is here again.
    const { home, engines } = this.#options;
    const { takeOver } = await import("./hand-over.ts");
    using pins = new DisposableStack();
    const taken = await takeOver(
      home,
      id,
      await engines.of(HANDED_OVER_ENGINE),
      (names) => pins.use(this.holdings.pins.add(names)),
      signal,
    );
    const { memoryMib } = taken.record;
    await this.#admission.check(1, memoryMib); // What finds no room here is left to other nodes.
    await taken.claim(); // Without a turn of its own: a store that does not answer holds up nobody else.
    const sandbox = await this.#admission.letIn(1, memoryMib, async () => {
      const again = this.#all.get(id);
      if (again) return again;
      const brought = new ManagedSandbox(this.#options, { ...taken.record, held: false });
      await brought.settle();
      this.#watch(brought);
      return brought;
    });
    await taken.arrived();
    return sandbox;
  }

  /** Ends a sandbox and forgets it; nothing of it is left when this resolves. */
  async kill(sandbox: ManagedSandbox): Promise<void> {
    await sandbox.kill();
    this.#expiry.set(sandbox.id, undefined);
    this.#all.delete(sandbox.id);
    await removeSandboxFolder(this.#options.home, sandbox.id);
    const { source, disk } = sandbox.record;
    await this.holdings.release([source.folder, ...disk.layers, disk.diff, disk.nextDiff ?? ""]);
  }

  /** Lets go of everything: sandboxes that run go on without a daemon. */
  async close(): Promise<void> {
    this.#expiry.close();
    await this.#standby.close();
    await Promise.all(this.list().map((sandbox) => sandbox.release()));
  }
}
