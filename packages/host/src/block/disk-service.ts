import { rm } from "node:fs/promises";
import { KilnError } from "../errors.ts";
import { type AddDiskOptions, type BlockDisk, BlockServer, type NbdAddress } from "./block-server.ts";

/** A server that dies so often in a row has a reason that another start does not mend. */
const MAX_RESTARTS = 5;

interface Entry {
  options: AddDiskOptions;
  /** The disk on the server that runs now. */
  disk: BlockDisk;
}

/** A disk whose server may die and be replaced. */
export interface Disk {
  /** The same for as long as the disk exists, whichever server is behind it. */
  readonly nbd: NbdAddress;
  /** Makes what was written an immutable layer, on stable storage. */
  seal(): Promise<void>;
  /** Closes the disk and removes what was written to it. */
  discard(): Promise<void>;
}

/**
 * Copy-on-write disks that outlive their server. It is started with the first disk; when it dies, another takes its
 * place on the same socket with the same disks. An acknowledged write is in the diff, and QEMU, which repeats what was
 * not acknowledged, only notices a pause.
 */
export class DiskService implements AsyncDisposable {
  readonly #directory: string;
  readonly #entries = new Map<string, Entry>();
  #server: Promise<BlockServer> | undefined;
  #restarts = 0;
  #closed = false;

  /** @param directory folder for the server's sockets; short. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Starts the server ahead of the first disk. A failure shows in whoever needs a disk. */
  warm(): void {
    this.#running().catch(() => undefined);
  }

  /** Process id of the server that runs now, to measure it by. */
  async pid(): Promise<number> {
    return (await this.#running()).pid;
  }

  /** Opens a disk; its diff is made when it is absent. @throws KilnError as `BlockServer.addDisk`. */
  async add(options: AddDiskOptions): Promise<Disk> {
    const server = await this.#running();
    const disk = await server.addDisk(options);
    const entry: Entry = { options, disk };
    this.#entries.set(options.id, entry);
    return {
      nbd: disk.nbd,
      seal: async () => {
        await this.#running();
        await entry.disk.seal();
        this.#entries.delete(options.id);
      },
      discard: () => this.#discard(entry),
    };
  }

  async #discard({ options, disk }: Entry): Promise<void> {
    this.#entries.delete(options.id);
    try {
      await disk.remove({ deleteDiff: true });
    } catch (error) {
      // The server is gone, and so holds nothing any more.
      if (!(error instanceof KilnError && error.code === "BLOCK_FAILED")) throw error;
      await rm(options.diff, { recursive: true, force: true });
    }
  }

  #running(): Promise<BlockServer> {
    this.#server ??= this.#start();
    return this.#server;
  }

  async #start(): Promise<BlockServer> {
    const server = await BlockServer.start({ directory: this.#directory });
    void server.exited.then(() => this.#replace());
    for (const entry of this.#entries.values()) entry.disk = await server.addDisk(entry.options);
    return server;
  }

  #replace(): void {
    this.#server = undefined;
    if (this.#closed || this.#entries.size === 0 || this.#restarts >= MAX_RESTARTS) return;
    this.#restarts += 1;
    this.warm();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const server = await this.#server?.catch(() => undefined);
    await server?.stop();
  }
}
