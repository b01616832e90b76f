import { mkdirSync, realpathSync } from "node:fs";
import { rm } from "node:fs/promises";
import { KilnError } from "../../errors.ts";
import type { DiskOptions, DiskStats } from "../control-protocol.ts";
import { Diff } from "../disk/diff.ts";
import { ownDiff } from "../disk/diff-owner.ts";
import { Disk } from "../disk/disk.ts";
import type { Lower } from "../disk/lower.ts";
import type { Connection } from "../nbd/connection.ts";
import type { Export, Exports } from "../nbd/export.ts";
import { LowerCache } from "./lower-cache.ts";

/** Most disks of one server: each takes two open files and its map. */
const MAX_DISKS = 1000;

interface Entry extends Export {
  readonly directory: string;
  /** Lets go of everything that was opened for this disk. */
  readonly closeFiles: () => void;
}

/** The disks of a server and the connections to them. */
export class Disks implements Exports {
  readonly #entries = new Map<string, Entry>();
  /** Ids and diff folders that are being added or removed, so that nothing happens to them twice at once. */
  readonly #busy = new Set<string>();
  readonly #lowers = new LowerCache();
  readonly connections = new Set<Connection>();

  get(name: string): Export | undefined {
    return this.#entries.get(name);
  }

  names(): Iterable<string> {
    return this.#entries.keys();
  }

  list(): { id: string; sizeBytes: number }[] {
    return [...this.#entries.values()].map(({ name, disk }) => ({ id: name, sizeBytes: disk.sizeBytes }));
  }

  async add(options: DiskOptions): Promise<{ sizeBytes: number }> {
    if (this.#entries.has(options.id)) {
      throw new KilnError("USAGE", `there is a disk "${options.id}" already`);
    }
    if (this.#entries.size >= MAX_DISKS) {
      throw new KilnError("BLOCK_FAILED", `a block server holds at most ${MAX_DISKS} disks`);
    }
    using _id = this.#reserve(`id ${options.id}`);
    using _diff = this.#reserve(`diff ${options.diff}`);
    using stack = new DisposableStack();
    const { lower, release } = await this.#lowers.take(options);
    stack.defer(release);
    mkdirSync(options.diff, { recursive: true, mode: 0o700 });
    const directory = realpathSync(options.diff);
    for (const other of this.#entries.values()) {
      if (other.directory === directory) {
        throw new KilnError("USAGE", `${options.diff}: disk "${other.name}" writes to this diff already`);
      }
    }
    const owner = await ownDiff(directory);
    stack.defer(() => owner.release());
    const diff = Diff.exists(options.diff)
      ? Diff.open(options.diff, "writable")
      : Diff.create(options.diff, lower.sizeBytes, lower.top);
    stack.defer(() => diff.close());
    checkParent(diff, lower);
    const disk = new Disk(lower, diff, options.durability);
    const counters = { requests: 0, bytesRead: 0, bytesWritten: 0, errors: 0 };
    const opened = stack.move();
    const closeFiles = () => opened.dispose();
    this.#entries.set(options.id, { name: options.id, disk, counters, directory, closeFiles });
    return { sizeBytes: disk.sizeBytes };
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
    using _id = this.#reserve(`id ${entry.name}`);
    using _diff = this.#reserve(`diff ${entry.directory}`);
    this.#entries.delete(entry.name);
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
