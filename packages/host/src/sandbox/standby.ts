import type { Launchable } from "./launchable.ts";
import type { ManagedSandbox } from "./managed-sandbox.ts";

/** Who has just been handed a VM has the machine for so long before the next one is started, in milliseconds. */
const REFILL_DELAY_MS = 500;
/** After a standby VM could not be started, the next try is so much later, in milliseconds. */
const RETRY_MS = 30_000;

export interface StandbyOptions {
  /** How many are wanted of each template. */
  wanted: Readonly<Record<string, number>>;
  /** What sandboxes of a template start from, or undefined while it is not built. */
  find: (template: string) => Promise<Launchable | undefined>;
  /** Starts one. */
  start: (launchable: Launchable) => Promise<ManagedSandbox>;
  /** Ends one. */
  kill: (sandbox: ManagedSandbox) => Promise<void>;
  onError: (template: string, error: unknown) => void;
}

/**
 * Standby VMs: resumed, idle, belonging to nobody, so that a sandbox of a hot template is there as soon as it is asked
 * for. One is handed out once; others take its place in the background.
 */
export class Standby {
  readonly #options: StandbyOptions;
  readonly #ready = new Map<string, ManagedSandbox[]>();
  #filling: Promise<void> | undefined;
  #planned: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: StandbyOptions) {
    this.#options = options;
  }

  /** Whether any are wanted of `template`. */
  isPooled(template: string): boolean {
    return (this.#options.wanted[template] ?? 0) > 0;
  }

  /** One that goes on from what `launchable` says, or undefined. It is the caller's from here on. */
  take({ template, source }: Launchable): ManagedSandbox | undefined {
    const ready = this.#ready.get(template) ?? [];
    for (;;) {
      const sandbox = ready.shift();
      if (!sandbox) return undefined;
      if (sandbox.live && sandbox.record.source.folder === source.folder) return sandbox;
      void this.#options.kill(sandbox).catch((error) => this.#options.onError(template, error)); // Of an older build, or dead.
    }
  }

  /** Brings the numbers up to what is wanted, soon and in the background, one VM at a time. */
  refill(): void {
    if (this.#closed || this.#planned) return;
    this.#planned = setTimeout(() => this.#begin(), REFILL_DELAY_MS).unref();
  }

  #begin(): void {
    this.#planned = undefined;
    if (this.#closed) return;
    if (this.#filling) {
      this.refill();
      return;
    }
    this.#filling = this.#fill().finally(() => {
      this.#filling = undefined;
    });
  }

  async #fill(): Promise<void> {
    for (const [template, count] of Object.entries(this.#options.wanted)) {
      const ready = this.#ready.get(template) ?? [];
      this.#ready.set(template, ready);
      try {
        while (ready.length < count && !this.#closed) {
          const launchable = await this.#options.find(template);
          if (!launchable) break;
          const sandbox = await this.#options.start(launchable);
          if (this.#closed) await this.#options.kill(sandbox);
          else ready.push(sandbox);
        }
      } catch (error) {
        this.#options.onError(template, error);
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.refill(), RETRY_MS).unref();
      }
    }
  }

  /** Ends those that wait. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#planned);
    clearTimeout(this.#retry);
    await this.#filling;
    const all = [...this.#ready.values()].flat();
    this.#ready.clear();
    await Promise.all(all.map((sandbox) => this.#options.kill(sandbox)));
  }
}
