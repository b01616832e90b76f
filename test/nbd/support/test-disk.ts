import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlockDisk, BlockServer } from "@kiln/host/block/block-server.ts";
import { Random } from "../../support/random.ts";

/** A server with a disk over a base of random bytes, in a folder of its own; all gone when disposed of. */
export class TestDisk implements AsyncDisposable {
  readonly directory: string;
  readonly base: Buffer;
  server: BlockServer;
  disk: BlockDisk;

  private constructor(directory: string, base: Buffer, server: BlockServer, disk: BlockDisk) {
    this.directory = directory;
    this.base = base;
    this.server = server;
    this.disk = disk;
  }

  static async open(sizeBytes: number, durability: "process" | "disk" = "process"): Promise<TestDisk> {
    const directory = await mkdtemp(join(tmpdir(), "kiln-nbd-"));
    const base = new Random(1).bytes(Math.min(sizeBytes, 1024 * 1024));
    await writeFile(join(directory, "base"), base);
    const server = await BlockServer.start({ directory });
    const disk = await server.addDisk({ ...filesIn(directory), sizeBytes, durability });
    return new TestDisk(directory, base, server, disk);
  }

  get socketPath(): string {
    return this.disk.nbd.socketPath;
  }

  get uri(): string {
    return `nbd+unix:///${this.disk.nbd.exportName}?socket=${this.socketPath}`;
  }

  /** Kills the server, starts another and opens the same disk on it. */
  async killAndRestart(): Promise<void> {
    process.kill(this.server.pid, "SIGKILL");
    await this.server.exited;
    this.server = await BlockServer.start({ directory: this.directory });
    this.disk = await this.server.addDisk({ ...filesIn(this.directory), sizeBytes: this.disk.sizeBytes });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function filesIn(directory: string) {
  return { id: "disk", exportName: "disk", base: join(directory, "base"), diff: join(directory, "diff") };
}
