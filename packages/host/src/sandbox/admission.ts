import type { KilnHome } from "../home.ts";
import { Mutex } from "../os/mutex.ts";
import { admit, type Limits } from "./limits.ts";
import type { SandboxRecord } from "./sandbox-record.ts";

export interface AdmissionOptions {
  home: KilnHome;
  limits: Limits;
  /** Every sandbox there is. */
  records: () => readonly SandboxRecord[];
}

/** Lets in what fits within a daemon's limits, one after the other, so that two do not take the same room. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #turns = new Mutex();
  /** Ids of paused sandboxes that are about to run, and have their memory reserved. */
  readonly #resuming = new Set<string>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Checks that `count` new sandboxes fit, and reserves nothing. @throws KilnError `LIMIT_REACHED`, `CAPACITY`. */
  check(count: number, memoryMib: number): Promise<void> {
    return this.#admit({ count, memoryMib, fresh: true });
  }

  /** As `check`; what `list` adds to the records counts before anybody else is let in. */
  letIn<T>(count: number, memoryMib: number, list: () => T | Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      await this.check(count, memoryMib);
      return list();
    });
  }

  /**
   * Reserves room for the VM of a paused sandbox until what this gives is disposed of: then it runs, or does not.
   * @throws KilnError `CAPACITY`.
   */
  async letInAgain({ id, memoryMib }: SandboxRecord): Promise<Disposable> {
    const isFirst = await this.#turns.run(async () => {
      if (this.#resuming.has(id)) return false; // Somebody else resumes it just now.
      await this.#admit({ count: 1, memoryMib, fresh: false });
      this.#resuming.add(id);
      return true;
    });
    return { [Symbol.dispose]: () => void (isFirst && this.#resuming.delete(id)) };
  }

  #admit(wanted: Parameters<typeof admit>[3]): Promise<void> {
    const { home, limits, records } = this.#options;
    const counted = records().map((record) =>
      this.#resuming.has(record.id) ? { ...record, state: "running" as const } : record,
    );
    return admit(home, limits, counted, wanted);
  }
}
