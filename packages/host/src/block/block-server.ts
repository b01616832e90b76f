import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KilnError } from "../errors.ts";
import { ControlClient } from "../os/server/control-client.ts";
import { type ServerProcess, spawnServer } from "../os/server/server-process.ts";
import { checkSocketPath } from "../os/server/socket-path.ts";
import {
  AddResult,
  BLOCK_SERVER,
  CONTROL_SOCKET,
  type ControlBody,
  DiskOptions,
  DiskStats,
  ListResult,
  NBD_SOCKET,
} from "./control-protocol.ts";

export interface BlockServerOptions {
  /** Folder for the server's sockets and its log; made when absent. Short: a socket's path has 107 bytes at most. */
  directory: string;
  /** Gives up starting. */
  signal?: AbortSignal;
  /** Lets the server outlive this process; without it the server dies with it, however that ends. @default false */
  detached?: boolean;
}

/** Where a disk is to be found, for QEMU's and any other NBD client. */
export interface NbdAddress {
  socketPath: string;
  exportName: string;
}

/** A disk of a running server. */
export interface BlockDisk {
  readonly id: string;
  readonly sizeBytes: number;
  readonly nbd: NbdAddress;
  /** What it was added with, and what rotations have made of that. */
  readonly options: DiskOptions;
  /** Counters, and what the diff holds. */
  stats(): Promise<DiskStats>;
  /** Closes the disk and makes its diff an immutable layer, safely on stable storage. The folder may then be renamed. */
  seal(): Promise<void>;
  /**
   * Makes what was written so far an immutable layer, on stable storage, and goes on with an empty diff in `diff`, under
   * the same address and connections, whose requests wait meanwhile. All or nothing, kill -9 included: the old diff
   * being sealed (`isSealed`) is what tells. `layers` takes the place of the layers that were below so far and must
   * hold the same: merged ones (`mergeLayers`), for example.
   */
  rotate(diff: string, layers?: readonly string[]): Promise<void>;
  /** Closes the disk's connections and files. `deleteDiff` removes the diff's folder. @default { deleteDiff: false } */
  remove(options?: { deleteDiff?: boolean }): Promise<void>;
}

/**
 * A process that serves copy-on-write disks over NBD.
 *
 * @example
 * await using server = await BlockServer.start({ directory: "/run/kiln/block" });
 * const disk = await server.addDisk({ id: "a", base: "/img/rootfs.ext4", layers: [], diff: "/run/a/diff" });
 * // qemu … -blockdev driver=nbd,server.type=unix,server.path=<disk.nbd.socketPath>,export=<disk.nbd.exportName>
 */
export class BlockServer implements AsyncDisposable {
  readonly pid: number;
  readonly directory: string;
  /** Resolves when the server is gone, in whatever way. Its disks can be added to another server then. */
  readonly exited: Promise<void>;
  readonly #control: ControlClient<ControlBody>;
  readonly #process: ServerProcess | undefined;
  /** Whether its end, or that of the connection, is wanted. */
  #released = false;

  private constructor(
    directory: string,
    control: ControlClient<ControlBody>,
    pid: number,
    owned: ServerProcess | undefined,
  ) {
    this.directory = directory;
    this.pid = pid;
    this.#control = control;
    this.#process = owned;
    this.exited = owned?.exited ?? control.closed;
    // A server that cannot be asked anything any more is of no use, and must make room for the next one.
    if (owned !== undefined) {
      void control.closed.then(() => (this.#released ? undefined : owned.kill()));
    }
  }

  /** Whether it can still be asked something. */
  get isOpen(): boolean {
    return this.#control.isOpen;
  }

  /**
   * @throws KilnError `USAGE` when the folder's path is too long; `BLOCK_FAILED` when the server doesn't start;
   * `CANCELLED`.
   */
  static async start(options: BlockServerOptions): Promise<BlockServer> {
    const { directory } = options;
    checkSocketPath(join(directory, CONTROL_SOCKET));
    if (options.signal?.aborted)
      throw new KilnError("CANCELLED", "cancelled before the block server was started");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const main = fileURLToPath(new URL("./server/main.ts", import.meta.url));
    const owned = await spawnServer(BLOCK_SERVER, main, directory, options.detached ?? false, options.signal);
    try {
      const { client, pid } = await ControlClient.connect<ControlBody>(
        BLOCK_SERVER,
        join(directory, CONTROL_SOCKET),
      );
      if (options.detached) client.unref();
      return new BlockServer(directory, client, pid, owned);
    } catch (error) {
      await owned.kill();
      throw error;
    }
  }

  /** Takes up a server that is running in `directory`, for example one that outlived the process that started it. */
  static async attach(directory: string): Promise<BlockServer> {
    const { client, pid } = await ControlClient.connect<ControlBody>(
      BLOCK_SERVER,
      join(directory, CONTROL_SOCKET),
    );
    return new BlockServer(directory, client, pid, undefined);
  }

  /**
   * Opens a disk, or opens it again: the diff is made when it is absent. Everything acknowledged before is there.
   *
   * @throws KilnError `USAGE` for bad options or an id or diff in use; `IMAGE_INVALID` naming the file that is missing,
   * damaged or of another disk.
   */
  async addDisk(options: AddDiskOptions): Promise<BlockDisk> {
    const parsed = DiskOptions.safeParse({ durability: "process", layers: [], ...options });
    if (!parsed.success) {
      const issues = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
      throw new KilnError("USAGE", `bad disk options: ${issues.join("; ")}`);
    }
    const result = AddResult.parse(await this.#control.request({ op: "add", disk: parsed.data }));
    return this.#disk(result.sizeBytes, { ...parsed.data, exportName: result.exportName });
  }

  /** The disks the server has just now. */
  disks(): Promise<BlockDisk[]> {
    return this.#list("list");
  }

  /**
   * Cuts off everybody else who controls the server and waits until what they asked for is done: from then on no
   * request of a former owner changes anything. @returns the disks it has.
   */
  claim(): Promise<BlockDisk[]> {
    return this.#list("claim");
  }

  async #list(op: "list" | "claim"): Promise<BlockDisk[]> {
    const { disks } = ListResult.parse(await this.#control.request({ op }));
    return disks.map(({ options, sizeBytes }) => this.#disk(sizeBytes, options));
  }

  /** Ends the server: connections are closed, diffs stay. Does nothing when it is gone already. */
  async stop(): Promise<void> {
    const control = this.#control;
    this.#released = true;
    await control.request({ op: "stop" }).catch(() => undefined);
    if (this.#process === undefined) await control.closed;
    else await this.#process.end();
    control[Symbol.dispose]();
  }

  /** Lets go of a detached server without ending it. */
  release(): void {
    this.#released = true;
    this.#control[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #disk(sizeBytes: number, options: DiskOptions & { exportName: string }): BlockDisk {
    const control = this.#control;
    const { id, exportName } = options;
    return {
      id,
      sizeBytes,
      options,
      nbd: { socketPath: join(this.directory, NBD_SOCKET), exportName },
      stats: async () => DiskStats.parse(await control.request({ op: "stats", id })),
      seal: async () => {
        await control.request({ op: "seal", id });
      },
      rotate: async (diff, layers) => {
        await control.request({ op: "rotate", id, diff, ...(layers && { layers: [...layers] }) });
      },
      remove: async ({ deleteDiff = false } = {}) => {
        await control.request({ op: "remove", id, deleteDiff });
      },
    };
  }
}

/** A disk's files: absolute paths. */
export interface AddDiskOptions {
  /** Name of the disk: 1 to 128 letters, digits, dots, dashes, underscores. */
  id: string;
  /** Name of the NBD export, which gives access to the disk. @default 32 random hexadecimal digits */
  exportName?: string | undefined;
  /** Base image, a raw file that is never written to. */
  base: string;
  /** Folders of sealed diffs, lowest first. @default [] */
  layers?: readonly string[];
  /** Folder of the diff that takes this disk's writes; made when absent. One disk at a time may write to it. */
  diff: string;
  /** Size of the device, in bytes, a multiple of 4096. @default the size of the base image, rounded up */
  sizeBytes?: number | undefined;
  /** Room the diff may take on the host, in bytes; a write that needs more fails with ENOSPC. @default no limit */
  maxDiffBytes?: number | undefined;
  /** `process`: survives the death of any process; `disk`: a flush also survives a power cut. @default "process" */
  durability?: "process" | "disk";
}
