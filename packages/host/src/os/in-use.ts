import { randomBytes } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import type { KilnHome } from "../home.ts";
import { lockFile } from "./file-lock.ts";
import { isAlive, ownProcessId } from "./process-id.ts";

/**
 * What a process works with in KILN_HOME although no record says so: a build its parent's rootfs, a push what it reads.
 * `uses/<process id>.<random>` has the names, one a line, and counts as long as its process lives.
 *
 * Names are added under a shared lock, and whoever removes from the caches looks at them and renames what it removes
 * out of its place under the exclusive one (`stopUses`): what was added is not removed, and what was removed before
 * cannot be found any more. So add first, then look whether it is there.
 */
export class Uses implements AsyncDisposable {
  readonly #home: KilnHome;
  #file: Promise<string> | undefined;

  constructor(home: KilnHome) {
    this.#home = home;
  }

  /** Keeps folders below KILN_HOME from being removed. They need not be there yet. */
  add(paths: readonly string[], signal?: AbortSignal): Promise<void> {
    return this.keep(
      async () => undefined,
      () => paths,
      signal,
    );
  }

  /** Finds something, and keeps the folders it is made of from being removed. `find` must not take long. */
  async keep<T>(
    find: () => Promise<T>,
    foldersOf: (found: T) => readonly string[],
    signal?: AbortSignal,
  ): Promise<T> {
    this.#file ??= this.#open();
    const file = await this.#file;
    await using _lock = await lockFile(lockOf(this.#home), signal, { shared: true });
    const found = await find();
    await appendFile(
      file,
      foldersOf(found)
        .map((path) => `${relative(this.#home.root, path)}\n`)
        .join(""),
    );
    return found;
  }

  async #open(): Promise<string> {
    await mkdir(this.#home.uses, { recursive: true, mode: 0o700 });
    return join(this.#home.uses, `${ownProcessId()}.${randomBytes(4).toString("hex")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#file !== undefined) await rm(await this.#file, { force: true });
  }
}

/** While this is held no process begins to use anything, so that what is unused can be told and taken away. For moments. */
export function stopUses(home: KilnHome, signal?: AbortSignal): Promise<AsyncDisposable> {
  return lockFile(lockOf(home), signal);
}

/** Names below KILN_HOME that processes use. */
export async function readUses(home: KilnHome): Promise<Set<string>> {
  const names = new Set<string>();
  for (const file of await readdir(home.uses).catch(() => [])) {
    if (!isAlive(file.split(".")[0] ?? "")) continue; // Swept with other leftovers.
    const text = await readFile(join(home.uses, file), "utf8").catch(() => ""); // Let go of just now.
    for (const name of text.split("\n")) if (name !== "") names.add(name);
  }
  return names;
}

const lockOf = (home: KilnHome) => home.lock("uses");
