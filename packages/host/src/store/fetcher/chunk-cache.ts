import { randomBytes } from "node:crypto";
import { mkdir, opendir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** When room is short so much of it is made free, so that it is not short again at once. */
const KEEP = 0.9;
/** Chunks used again within this time need no new date, in milliseconds. */
const DATE_STEP_MS = 60_000;
const UNFINISHED = "unfinished";
/** How long a chunk waits to be put, in milliseconds: the start it was fetched for is over by then. */
const PUT_LATER_MS = 10_000;
/** Room for chunks that wait to be put, in bytes of memory. */
const MAX_LATER_BYTES = 256 * 1024 * 1024;

/**
 * Chunks as they came from the store, by their address, in a folder of limited size: the least recently used go first. Any number of
 * processes may use it, and any of them may die at any time: a chunk gets its name when it is whole, and whoever reads one checks it
 * against its address. Nothing here is needed; what fails is as if it were not there.
 */
export class ChunkCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  #usedBytes: Promise<number> | undefined;
  #evicting: Promise<void> | undefined;
  /** Names of the chunks there were when this was opened, and of those put since. */
  #names: Promise<Set<string>> | undefined;
  readonly #later: { digest: string; bytes: Uint8Array }[] = [];
  #laterBytes = 0;

  constructor(folder: string, maxBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  async get(digest: string): Promise<Buffer | undefined> {
    if (this.#maxBytes === 0 || !(await this.#known()).has(digest)) return undefined;
    const path = this.#path(digest);
    const bytes = await readFile(path).catch(() => undefined);
    if (bytes) void this.#touch(path);
    return bytes;
  }

  /**
   * Puts a chunk when there is nothing better to do: who fetches chunks is in a hurry more often than who looks for them again. All the
   * memory that `bytes` are part of is kept until then; where much is kept already the chunk is passed over.
   */
  putLater(digest: string, bytes: Uint8Array): void {
    if (bytes.length > this.#maxBytes || this.#laterBytes + bytes.length > MAX_LATER_BYTES) return;
    this.#laterBytes += bytes.length;
    this.#later.push({ digest, bytes });
    if (this.#later.length === 1) setTimeout(() => void this.#putAll(), PUT_LATER_MS).unref();
  }

  async #putAll(): Promise<void> {
    for (let next = this.#later[0]; next !== undefined; next = this.#later[0]) {
      await this.put(next.digest, next.bytes);
      this.#later.shift();
      this.#laterBytes -= next.bytes.length;
    }
  }

  async put(digest: string, bytes: Uint8Array): Promise<void> {
    if (bytes.length > this.#maxBytes) return;
    const path = this.#path(digest);
    const temporary = join(this.#folder, UNFINISHED, `${process.pid}.${randomBytes(8).toString("hex")}`);
    try {
      const used = await this.#used();
      await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
      await writeFile(temporary, bytes, { mode: 0o600 });
      await rename(temporary, path);
      (await this.#known()).add(digest);
      this.#usedBytes = Promise.resolve(used + bytes.length);
      if (used + bytes.length > this.#maxBytes) this.#evicting ??= this.#evict();
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }

  /** Forgets a chunk that is not what its address says. */
  async drop(digest: string): Promise<void> {
    await rm(this.#path(digest), { force: true }).catch(() => undefined);
  }

  /** Waits until what was put is there, and it is no larger than it may be. */
  async settle(): Promise<void> {
    await this.#putAll();
    await this.#evicting;
  }

  #path(digest: string): string {
    return join(this.#folder, digest.slice(0, 2), digest);
  }

  async #touch(path: string): Promise<void> {
    try {
      const now = Date.now();
      if (now - (await stat(path)).mtimeMs > DATE_STEP_MS) await utimes(path, now / 1000, now / 1000);
    } catch {
      // Somebody has removed it.
    }
  }

  #known(): Promise<Set<string>> {
    this.#names ??= (async () => {
      const names = new Set<string>();
      try {
        for await (const { name } of await opendir(this.#folder, { recursive: true })) names.add(name);
      } catch {
        // There is none yet.
      }
      return names;
    })();
    return this.#names;
  }

  #used(): Promise<number> {
    this.#usedBytes ??= (async () => {
      // What a process that was killed has left behind.
      await rm(join(this.#folder, UNFINISHED), { recursive: true, force: true });
      await mkdir(join(this.#folder, UNFINISHED), { recursive: true, mode: 0o700 });
      return (await this.#list()).reduce((sum, { size }) => sum + size, 0);
    })();
    return this.#usedBytes;
  }

  async #list(): Promise<{ path: string; size: number; usedMs: number }[]> {
    const found: { path: string; size: number; usedMs: number }[] = [];
    for await (const entry of await opendir(this.#folder, { recursive: true })) {
      if (!entry.isFile() || entry.parentPath.endsWith(UNFINISHED)) continue;
      const path = join(entry.parentPath, entry.name);
      const info = await stat(path).catch(() => undefined);
      if (info) found.push({ path, size: info.size, usedMs: info.mtimeMs });
    }
    return found;
  }

  async #evict(): Promise<void> {
    try {
      const chunks = (await this.#list()).sort((a, b) => a.usedMs - b.usedMs);
      let used = chunks.reduce((sum, { size }) => sum + size, 0);
      for (const { path, size } of chunks) {
        if (used <= this.#maxBytes * KEEP) break;
        await rm(path, { force: true });
        used -= size;
      }
      this.#usedBytes = Promise.resolve(used);
    } catch {
      this.#usedBytes = undefined;
    } finally {
      this.#evicting = undefined;
    }
  }
}
