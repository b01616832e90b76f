import { access } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { readUses, stopUses } from "../os/in-use.ts";
import { Mutex } from "../os/mutex.ts";
import { Pins } from "./pins.ts";
import type { SandboxRecord } from "./sandbox-record.ts";
import { removeSavedTemplate, type SavedTemplate } from "./saved-template.ts";
import { referenced, release } from "./storage.ts";

/** Names below KILN_HOME that must not be removed. */
export interface Needed {
  /** By sandboxes, forks under way and templates made from sandboxes. */
  bySandboxes: ReadonlySet<string>;
  /** By builds and other commands. */
  byProcesses: ReadonlySet<string>;
}

/** What a sandbox was to start from was removed after it had been found. */
export class RemovedError extends KilnError {
  constructor(template: string, cause?: unknown) {
    super("CONFLICT", `what was built from ${template} has just been removed`, {
      hint: "ask again: it is built anew",
      cause,
    });
  }
}

/**
 * What the daemon's sandboxes hold on disk. A record holds what it names from the moment it is listed; what has no record
 * yet is pinned. Removals, and looks whether something was removed, happen one after the other.
 */
export class Holdings {
  readonly pins = new Pins();
  readonly #home: KilnHome;
  readonly #records: () => SandboxRecord[];
  readonly #turns = new Mutex();

  constructor(home: KilnHome, records: () => SandboxRecord[]) {
    this.#home = home;
    this.#records = records;
  }

  /** Removes those of `names`, layers and saved memory, that nobody needs any more. */
  release(names: readonly string[]): Promise<void> {
    return this.#turns.run(() => release(this.#home, names, this.#records(), this.pins));
  }

  /**
   * Removes from the caches: `work` is told what is needed, and renames what it removes out of its place. Nobody begins to need
   * anything meanwhile: a process waits, and a sandbox that is listed finds that it is gone.
   */
  remove<T>(work: (needed: Needed) => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      await using _stopped = await stopUses(this.#home);
      const [names, byProcesses] = await Promise.all([
        referenced(this.#home, this.#records()),
        readUses(this.#home),
      ]);
      return work({ bySandboxes: new Set([...names, ...this.pins.names]), byProcesses });
    });
  }

  /** Checks, once a record is listed, that what it names is still there. @throws RemovedError. */
  check({ template, disk, source, kernel }: SandboxRecord): Promise<void> {
    return this.#turns.run(async () => {
      const names = [disk.base, ...disk.layers, source.folder, kernel.vmlinuz, kernel.initrd];
      await Promise.all(names.map((name) => access(join(this.#home.root, name)))).catch((cause) => {
        throw new RemovedError(template, cause);
      });
    });
  }

  /** Forgets a template that was made from a sandbox, and what nobody else needs of it. */
  async removeTemplate({ name, source, layers }: SavedTemplate): Promise<void> {
    await removeSavedTemplate(this.#home, name);
    await this.release([source.folder, ...layers]);
  }
}
