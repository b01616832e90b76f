import { rm } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import { whileTaken } from "../os/server/server-process.ts";
import { type AddDiskOptions, type BlockDisk, BlockServer, type NbdAddress } from "./block-server.ts";
import { CONTROL_SOCKET, type DiskStats, NBD_SOCKET } from "./control-protocol.ts";
import { isSealed } from "./disk/sealed.ts";
import { RestartRate } from "./restart-rate.ts";
import { sameDisk } from "./same-disk.ts";

/** How often a request is repeated because its server died before it had answered. */
const MAX_ATTEMPTS = 4;

interface Entry {
  options: AddDiskOptions;
  /** The disk on the server that runs now. */
  disk: BlockDisk;
  /** What it is to become when its diff turns out to be sealed. */
  next: AddDiskOptions | "sealed" | undefined;
  /** Why no server has it. */
  failure: KilnError | undefined;
}

/** A disk whose server may die and be replaced. */
export interface Disk {
  /** The same for as long as the disk exists, whichever server is behind it. */
  readonly nbd: NbdAddress;
  /** Counters, and what the diff holds. */
  stats(): Promise<DiskStats>;
  /** Makes what was written an immutable layer, on stable storage. */
  seal(): Promise<void>;
  /**
   * Makes what was written an immutable layer and goes on with an empty diff in `diff`, under the same connections.
   * `layers`: what is to be below the old diff, when that is not what was; see `BlockDisk.rotate`. When this fails
   * with `BLOCK_FAILED`, `isSealed` of the old diff says whether it has happened.
   */
  rotate(diff: string, layers?: readonly string[]): Promise<void>;
  /** Closes the disk and removes what was written to it since it was sealed or rotated last. */
  discard(): Promise<void>;
}

export interface DiskServiceOptions {
  /** Lets the server outlive this process, for `DiskService.attach` to take it up again. @default false */
  detached?: boolean;
}

/**
 * Copy-on-write disks that outlive their server. It is started with the first disk; when it dies, another takes its
 * place on the same socket with the same disks. An acknowledged write is in the diff, and QEMU, which repeats what was
 * not acknowledged, only notices a pause.
 */
export class DiskService implements AsyncDisposable {
  readonly #directory: string;
  readonly #detached: boolean;
  readonly #entries = new Map<string, Entry>();
  /** Disks of a server that was taken up, which nobody has asked for yet. */
  readonly #found = new Map<string, BlockDisk>();
  readonly #restarts = new RestartRate();
  readonly #listeners = new Set<(failure: KilnError, ids: readonly string[]) => void>();
  #server: Promise<BlockServer> | undefined;
  #closed = false;

  /** @param directory folder for the server's sockets, which one service at a time may have; short. */
  constructor(directory: string, { detached = false }: DiskServiceOptions = {}) {
    this.#directory = directory;
    this.#detached = detached;
  }

  /**
   * Takes up the server that a former process left in `directory`, or starts one. Nothing that process asked for is
   * under way any more when this resolves. Then `adopt` each disk that is known of, and `discardOthers`.
   * @throws KilnError `BLOCK_FAILED` when there is no server and none can be started.
   */
  static async attach(directory: string): Promise<DiskService> {
    const service = new DiskService(directory, { detached: true });
    await service.#running();
    return service;
  }

  /** Starts the server ahead of the first disk. A failure shows in whoever needs a disk. */
  warm(): void {
    this.#running().catch(() => undefined);
  }

  /** Process id of the server that runs now, to measure it by. */
  async pid(): Promise<number> {
    return (await this.#running()).pid;
  }

  /**
   * Calls `listener` when disks are out of reach, with why and their ids: a server that cannot be replaced, which is
   * tried again after a minute, or a disk that the new one could not open. @returns what ends the calls.
   */
  onFailure(listener: (failure: KilnError, ids: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Opens a disk; its diff is made when it is absent. @throws KilnError as `BlockServer.addDisk`. */
  async add(options: AddDiskOptions): Promise<Disk> {
    const disk = await (await this.#running()).addDisk(options);
    return this.#serve(disk, options);
  }

  /**
   * Takes up a disk that was there before this process: the server may have it with just these options, with others,
   * or not at all. @throws KilnError as `BlockServer.addDisk`.
   */
  async adopt(options: AddDiskOptions): Promise<Disk> {
    await this.#running();
    const found = this.#found.get(options.id);
    this.#found.delete(options.id);
    if (found !== undefined && sameDisk(found.options, options)) return this.#serve(found, options);
    await found?.remove();
    return this.add({ ...options, exportName: options.exportName ?? found?.nbd.exportName });
  }

  /** Closes every disk of a server that was taken up which nobody has adopted. Their files are the caller's. */
  async discardOthers(): Promise<void> {
    await this.#running();
    const others = [...this.#found.values()];
    this.#found.clear();
    await Promise.all(others.map((disk) => disk.remove()));
  }

  /** Seals the diff of a disk that may be open or not, and closes it. @throws KilnError as `BlockServer.addDisk`. */
  async seal(options: AddDiskOptions): Promise<void> {
    if (await isSealed(options.diff)) return;
    const disk = await this.adopt(options);
    await disk.seal();
  }

  /** Ends the server if it has no disks. @returns whether it has ended; the next disk starts another. */
  async stopIfIdle(): Promise<boolean> {
    const server = await this.#server?.catch(() => undefined);
    if (server === undefined) return true;
    if (this.#entries.size > 0 || this.#found.size > 0) return false;
    this.#server = undefined;
    await server.stop();
    return true;
  }

  /** Lets go of a detached server: it serves its disks on, or ends if it has none. Any other is ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const server = await this.#server?.catch(() => undefined);
    if (this.#detached && this.#entries.size + this.#found.size > 0) server?.release();
    else {
      await server?.stop();
      // Of one that was killed and that nobody has needed since.
      for (const name of [CONTROL_SOCKET, NBD_SOCKET]) await rm(join(this.#directory, name), { force: true });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #serve(disk: BlockDisk, options: AddDiskOptions): Disk {
    const { nbd } = disk;
    const known = { ...options, exportName: nbd.exportName };
    const entry: Entry = { options: known, disk, next: undefined, failure: undefined };
    this.#entries.set(options.id, entry);
    return {
      nbd,
      stats: () => this.#insist(entry, () => entry.disk.stats()),
      seal: () => this.#seal(entry),
      rotate: (diff, layers) => this.#rotate(entry, diff, layers),
      discard: () => this.#discard(entry),
    };
  }

  async #seal(entry: Entry): Promise<void> {
    entry.next = "sealed";
    await this.#insist(entry, async () => {
      // A server that died may have done it all but the answer.
      if (this.#entries.get(entry.options.id) === entry) await entry.disk.seal();
    });
    this.#entries.delete(entry.options.id);
  }

  async #rotate(entry: Entry, diff: string, layers: readonly string[] | undefined): Promise<void> {
    const { options } = entry;
    const below = layers ?? options.layers ?? [];
    const next = { ...options, layers: [...below, options.diff], diff };
    entry.next = next;
    try {
      await this.#insist(entry, async () => {
        if (entry.options === options) await entry.disk.rotate(diff, layers);
        entry.options = next;
      });
    } finally {
      entry.next = undefined;
    }
  }

  async #discard(entry: Entry): Promise<void> {
    const { id } = entry.options;
    try {
      await this.#insist(entry, () => entry.disk.remove());
    } catch (error) {
      // No server has it then, and nobody writes to its diff.
      if (!(error instanceof KilnError)) throw error;
    }
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
    await rm(entry.options.diff, { recursive: true, force: true });
  }

  /** Does `work` on a server that runs, again on the next one when that dies meanwhile. */
  async #insist<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const server = await this.#running();
      if (entry.failure !== undefined) throw entry.failure;
      try {
        return await work();
      } catch (error) {
        if (server.isOpen || attempt >= MAX_ATTEMPTS) throw error;
        await server.exited;
      }
    }
  }

  #running(): Promise<BlockServer> {
    if (this.#server === undefined) {
      const starting = this.#start();
      this.#server = starting;
      starting.catch(() => {
        if (this.#server === starting) this.#server = undefined;
      });
    }
    return this.#server;
  }

  async #start(): Promise<BlockServer> {
    if (this.#closed) throw new KilnError("BLOCK_FAILED", "the disks were closed");
    const refused = this.#restarts.refusal();
    if (refused !== undefined) throw refused;
    const { server, has } = await whileTaken(() => this.#findOrStart());
    void server.exited.then(() => this.#replace(server));
    for (const [id, entry] of this.#entries) {
      const disk = has.get(id);
      has.delete(id);
      await this.#reopen(server, entry, disk);
    }
    this.#found.clear();
    for (const [id, disk] of has) this.#found.set(id, disk);
    return server;
  }

  /** A detached server may be there already: a former process's, or one that only the connection to was lost. */
  async #findOrStart(): Promise<{ server: BlockServer; has: Map<string, BlockDisk> }> {
    const directory = this.#directory;
    if (this.#detached) {
      const server = await BlockServer.attach(directory).catch(() => undefined);
      if (server !== undefined) {
        const disks = await server.claim();
        return { server, has: new Map(disks.map((disk) => [disk.id, disk])) };
      }
    }
    const server = await BlockServer.start({ directory, detached: this.#detached });
    return { server, has: new Map() };
  }

  async #reopen(server: BlockServer, entry: Entry, present: BlockDisk | undefined): Promise<void> {
    const { next } = entry;
    try {
      entry.failure = undefined;
      if (next !== undefined && (await isSealed(entry.options.diff))) {
        if (next === "sealed") {
          this.#entries.delete(entry.options.id);
          return;
        }
        entry.options = next;
      }
      if (present !== undefined && sameDisk(present.options, entry.options)) entry.disk = present;
      else {
        await present?.remove();
        entry.disk = await server.addDisk(entry.options);
      }
    } catch (error) {
      if (!server.isOpen) return; // The next one tries again.
      entry.failure = error instanceof KilnError ? error : new KilnError("BLOCK_FAILED", String(error));
      this.#tell(entry.failure, [entry.options.id]);
    }
  }

  #replace(dead: BlockServer): void {
    void this.#server?.then(
      (current) => {
        if (current !== dead) return;
        this.#server = undefined;
        this.#found.clear();
        this.#restart();
      },
      () => undefined,
    );
  }

  #restart(): void {
    if (this.#closed || this.#entries.size === 0) return;
    this.#restarts.count();
    this.#running().catch((error: unknown) => {
      const failure = error instanceof KilnError ? error : new KilnError("BLOCK_FAILED", String(error));
      this.#tell(failure, [...this.#entries.keys()]);
      setTimeout(() => this.#restart(), this.#restarts.patienceMs).unref();
    });
  }

  #tell(failure: KilnError, ids: readonly string[]): void {
    for (const listener of this.#listeners) listener(failure, ids);
  }
}
