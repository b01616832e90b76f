import { randomBytes } from "node:crypto";
import { mkdirSync, realpathSync } from "node:fs";
import { rm } from "node:fs/promises";
import { KilnError } from "../../errors.ts";
import type { DiskOptions, DiskStats } from "../control-protocol.ts";
import { Diff } from "../disk/diff.ts";
import { ownDiff } from "../disk/diff-owner.ts";
import { Disk } from "../disk/disk.ts";
import { MAX_LAYERS } from "../disk/geometry.ts";
import { type Lower, openLower } from "../disk/lower.ts";
import type { Connection } from "../nbd/connection.ts";
import type { Export, Exports } from "../nbd/export.ts";
import { LowerCache } from "./lower-cache.ts";

/** Most disks of one server: each takes two open files and its map. */
const MAX_DISKS = 1000;

interface Entry extends Export {
  /** As they are now. */
  options: DiskOptions & { exportName: string };
  /** The folder of the diff, links resolved. */
  directory: string;
  /** Lets go of everything that was opened for this disk. */
  closeFiles: () => void;
}

/** The disks of a server and the connections to them. */
export class Disks implements Exports {
  readonly #entries = new Map<string, Entry>();
  readonly #exports = new Map<string, Entry>();
  /** Ids and diff folders that are being added or removed, so that nothing happens to them twice at once. */
  readonly #busy = new Set<string>();
  readonly #lowers = new LowerCache();
  readonly connections = new Set<Connection>();

  get(name: string): Export | undefined {
    return this.#exports.get(name);
  }

  list(): { sizeBytes: number; options: DiskOptions }[] {
    return [...this.#entries.values()].map(({ options, disk }) => ({ sizeBytes: disk.sizeBytes, options }));
  }

  async add(options: DiskOptions): Promise<{ sizeBytes: number; exportName: string }> {
    if (this.#entries.has(options.id)) {
      throw new KilnError("USAGE", `there is a disk "${options.id}" already`);
    }
    if (this.#entries.size >= MAX_DISKS) {
      throw new KilnError("BLOCK_FAILED", `a block server holds at most ${MAX_DISKS} disks`);
    }
    const exportName = options.exportName ?? randomBytes(16).toString("hex");
    using _id = this.#reserve(`id ${options.id}`);
    using _export = this.#reserve(`export ${exportName}`);
    if (this.#exports.has(exportName)) throw new KilnError("USAGE", "another disk has this export name");
    using _diff = this.#reserve(`diff ${options.diff}`);
    using stack = new DisposableStack();
    const { lower, release } = await this.#lowers.take(options);
    stack.defer(release);
    const directory = this.#claimFolder(options.diff);
    const owner = await ownDiff(directory);
    stack.defer(() => owner.release());
    const diff = Diff.exists(options.diff)
      ? Diff.open(options.diff, "writable")
      : Diff.create(options.diff, lower.sizeBytes, lower.top);
    stack.defer(() => diff.close());
    checkParent(diff, lower);
    const disk = new Disk(lower, diff, options.durability, options.maxDiffBytes);
    const counters = { requests: 0, bytesRead: 0, bytesWritten: 0, errors: 0 };
    const opened = stack.move();
    const entry: Entry = {
      name: exportName,
      options: { ...options, exportName },
      disk,
      counters,
      directory,
      closeFiles: () => opened.dispose(),
    };
    this.#entries.set(options.id, entry);
    this.#exports.set(exportName, entry);
    return { sizeBytes: disk.sizeBytes, exportName };
  }

  /** Makes the folder of a diff. @returns its path with links resolved. @throws KilnError when a disk has it already. */
  #claimFolder(path: string): string {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const directory = realpathSync(path);
    for (const other of this.#entries.values()) {
      if (other.directory === directory) {
        throw new KilnError("USAGE", `${path}: disk "${other.options.id}" writes to this diff already`);
      }
    }
    return directory;
  }

  /**
   * Seals the disk's diff and goes on with a new one in `diff`, under the same export and connections. Either all of
   * it happens or nothing: the sealing is what decides.
   *
   * @throws KilnError `USAGE` when there is no such disk, or too many layers; a Node.js system error.
   */
  async rotate(id: string, diff: string, below: readonly string[] | undefined): Promise<void> {
    const entry = this.#find(id);
    using _id = this.#reserve(`id ${id}`);
    using _old = this.#reserve(`diff ${entry.options.diff}`);
    using _new = this.#reserve(`diff ${diff}`);
    const { options } = entry;
    const layers = [...(below ?? options.layers), options.diff];
    if (layers.length > MAX_LAYERS) {
      throw new KilnError("LIMIT_REACHED", `disk "${id}" has ${MAX_LAYERS} layers already`, {
        hint: "merge some of them",
      });
    }
    using stack = new DisposableStack();
    const directory = this.#claimFolder(diff);
    const owner = await ownDiff(directory);
    stack.defer(() => owner.release());
    const source = { base: options.base, layers, sizeBytes: options.sizeBytes };
    try {
      let lower: Lower | undefined;
      await entry.disk.rotate(async () => {
        lower = await openLower(source, { becomingLayer: true });
        stack.defer(() => lower?.close());
        const fresh = openEmpty(diff, lower);
        stack.defer(() => fresh.close());
        return { lower, diff: fresh };
      });
    } finally {
      for (const connection of this.connections) if (connection.export === entry) connection.wake();
    }
    entry.closeFiles();
    const opened = stack.move();
    entry.closeFiles = () => opened.dispose();
    entry.directory = directory;
    entry.options = { ...options, layers, diff };
  }

  /** Closes the disk's connections and files. @throws KilnError `USAGE` when there is no such disk. */
  async remove(id: string, deleteDiff: boolean): Promise<void> {
    const entry = this.#find(id);
    await this.#retire(entry, () => entry.disk.settle());
    if (deleteDiff) await rm(entry.directory, { recursive: true, force: true });
  }

  /** Like `remove`, and what was written becomes a layer for other disks. */
  async seal(id: string): Promise<void> {
    const entry = this.#find(id);
    await this.#retire(entry, () => entry.disk.seal());
  }

  stats(id: string): DiskStats {
    const { name, disk, counters } = this.#find(id);
    let connections = 0;
    for (const connection of this.connections) if (connection.export?.name === name) connections++;
    return { sizeBytes: disk.sizeBytes, ...disk.allocation(), ...counters, connections };
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    await Promise.allSettled([...this.#entries.keys()].map((id) => this.remove(id, false)));
  }

  #find(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new KilnError("USAGE", `there is no disk "${id}"`);
    return entry;
  }

  /** Takes the disk away from clients, then does `last`; its id and its diff are free when all is done. */
  async #retire(entry: Entry, last: () => Promise<void>): Promise<void> {
    using _id = this.#reserve(`id ${entry.options.id}`);
    using _export = this.#reserve(`export ${entry.name}`);
    using _diff = this.#reserve(`diff ${entry.options.diff}`);
    this.#entries.delete(entry.options.id);
    this.#exports.delete(entry.name);
    const clients = [...this.connections].filter((connection) => connection.export === entry);
    for (const client of clients) client.destroy();
    await Promise.all(clients.map((client) => client.closed));
    try {
      await last();
    } finally {
      entry.closeFiles();
    }
  }

  #reserve(key: string): Disposable {
    if (this.#busy.has(key)) throw new KilnError("USAGE", `${key} is just being added or removed`);
    this.#busy.add(key);
    return { [Symbol.dispose]: () => this.#busy.delete(key) };
  }
}

/** A diff that nothing was written to yet, on top of `lower`: a new one, or what an interrupted rotation has left. */
function openEmpty(directory: string, lower: Lower): Diff {
  if (!Diff.exists(directory)) return Diff.create(directory, lower.sizeBytes, lower.top);
  const diff = Diff.open(directory, "writable");
  try {
    checkParent(diff, lower);
    if (diff.isEmpty) return diff;
    throw new KilnError("USAGE", `${directory}: is in use: it holds what somebody wrote`);
  } catch (error) {
    diff.close();
    throw error;
  }
}

function checkParent(diff: Diff, lower: Lower): void {
  if (diff.header.sizeBytes !== lower.sizeBytes) {
    throw new KilnError(
      "IMAGE_INVALID",
      `${diff.directory}: is a diff of a disk of ${diff.header.sizeBytes} bytes, not of ${lower.sizeBytes}`,
    );
  }
  if (diff.header.parent !== lower.top) {
    throw new KilnError("IMAGE_INVALID", `${diff.directory}: was made on top of other layers than these`, {
      hint: "open a diff with the same layers it was made with",
    });
  }
}
