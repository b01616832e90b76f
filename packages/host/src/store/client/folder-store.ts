import { randomBytes } from "node:crypto";
import { link, mkdir, open, opendir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { KilnError, systemErrorCode } from "../../errors.ts";
import type { GetOptions, ObjectInfo, ObjectStore } from "./object-store.ts";

/** Objects that are being written; names that no key has. */
const UNFINISHED = ".unfinished";

/** A store in a folder, which several nodes may share over a network file system. */
export class FolderStore implements ObjectStore {
  readonly name: string;
  readonly remote = false;
  readonly #root: string;

  constructor(root: string) {
    this.#root = resolve(root);
    this.name = this.#root;
  }

  async get(key: string, { range, maxBytes, signal }: GetOptions): Promise<Buffer<ArrayBuffer> | undefined> {
    signal?.throwIfAborted();
    return this.#try(async () => {
      await using file = await open(this.#path(key), "r");
      const { size } = await file.stat();
      const length = range ? Math.max(0, Math.min(range.length, size - range.offset)) : size;
      if (length > maxBytes)
        throw new KilnError("STORE_DAMAGED", `${key} in ${this.name} is longer than ${maxBytes} bytes`);
      const bytes = Buffer.allocUnsafeSlow(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await file.read(bytes, done, length - done, (range?.offset ?? 0) + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes.subarray(0, done);
    });
  }

  async put(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#write(key, bytes, rename);
  }

  async create(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    // A second name, which is refused when there is one: rename(2) replaces.
    return this.#write(key, bytes, async (temporary, path) => {
      await link(temporary, path);
      await rm(temporary);
    });
  }

  /** @returns false when `publish` finds an object of that name and does not replace it. */
  async #write(
    key: string,
    bytes: Uint8Array,
    publish: (temporary: string, path: string) => Promise<void>,
  ): Promise<boolean> {
    const path = this.#path(key);
    const temporary = join(this.#root, UNFINISHED, randomBytes(12).toString("hex"));
    const written = await this.#try(async () => {
      await Promise.all(
        [dirname(temporary), dirname(path)].map((folder) => mkdir(folder, { recursive: true })),
      );
      try {
        await using file = await open(temporary, "wx", 0o644);
        await file.writeFile(bytes);
        await file.sync();
        await publish(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        if (systemErrorCode(error) === "EEXIST") return false;
        throw error;
      }
      await syncFolder(dirname(path));
      return true;
    });
    return written !== false;
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    signal?.throwIfAborted();
    return this.#try(async () => {
      const { size, mtime } = await stat(this.#path(key));
      return { key, size, modified: mtime };
    });
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    const directory = await this.#try(() => opendir(join(this.#root, folder), { recursive: true }));
    if (directory === undefined) return;
    for await (const entry of directory) {
      signal?.throwIfAborted();
      if (!entry.isFile()) continue;
      const key = relative(this.#root, join(entry.parentPath, entry.name));
      if (!key.startsWith(prefix) || key.startsWith(UNFINISHED)) continue;
      const info = await this.head(key); // It may be gone by now.
      if (info) yield info;
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#try(() => rm(this.#path(key)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is kept open.
  }

  #path(key: string): string {
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/.test(key)) {
      throw new KilnError("INTERNAL", `not the name of an object: ${key}`);
    }
    return join(this.#root, key);
  }

  /** What `work` gives, or undefined when there is no such file. */
  async #try<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof KilnError) throw error;
      const code = systemErrorCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw new KilnError("STORE_UNAVAILABLE", `the store in ${this.name} failed: ${code ?? String(error)}`, {
        cause: error,
      });
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
