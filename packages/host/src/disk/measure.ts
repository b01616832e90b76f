import type { Stats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../errors.ts";

/** `st_blocks` is in units of so many bytes, whatever the file system's own are: stat(2). */
const BLOCK = 512;

/**
 * Counts bytes as they are on the disk, as du(1) does: holes are not counted, a file with several names is counted once by one
 * `DiskMeter`, and other file systems are left out. What goes away meanwhile counts for nothing.
 */
export class DiskMeter {
  readonly #seen = new Set<string>();
  readonly #device: number;

  private constructor(device: number) {
    this.#device = device;
  }

  /** For what is on the file system of `path`. */
  static async open(path: string): Promise<DiskMeter> {
    return new DiskMeter((await lstat(path)).dev);
  }

  /** Bytes of `path` and all that is below it. */
  async measure(path: string): Promise<number> {
    const found = await ifThere(lstat(path));
    if (found === undefined || found.dev !== this.#device) return 0;
    if (!found.isDirectory()) return this.#once(found);
    const names = (await ifThere(readdir(path))) ?? [];
    const below = await Promise.all(names.map((name) => this.measure(join(path, name))));
    return below.reduce((sum, bytes) => sum + bytes, found.blocks * BLOCK);
  }

  /** Bytes of `path` without what is below it. */
  async measureOne(path: string): Promise<number> {
    return ((await ifThere(lstat(path)))?.blocks ?? 0) * BLOCK;
  }

  #once({ dev, ino, nlink, blocks }: Stats): number {
    if (nlink > 1) {
      const file = `${dev} ${ino}`;
      if (this.#seen.has(file)) return 0;
      this.#seen.add(file);
    }
    return blocks * BLOCK;
  }
}

/** What `work` gives, or undefined when what it is about is not there. */
export async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemErrorCode(error) ?? "")) return undefined;
    throw error;
  }
}
