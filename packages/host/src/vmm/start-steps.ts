import { KilnError } from "../errors.ts";
import type { VmExit } from "./vmm.ts";

/** The steps of a VM's start that are under way, and how long they may take: what there is to say about a start that fails. */
export class StartSteps {
  readonly #program: string;
  readonly #gone: AbortSignal;
  readonly #signal: AbortSignal | undefined;
  readonly #awaited = new Set<string>();
  readonly #limits: AbortSignal[] = [];

  /**
   * @param program what the VMM is called in messages: `QEMU`.
   * @param gone fires when it has ended.
   * @param signal fires when nobody wants the VM any more.
   */
  constructor(program: string, gone: AbortSignal, signal?: AbortSignal) {
    this.#program = program;
    this.#gone = gone;
    this.#signal = signal;
  }

  /** Fires when there is no use in waiting any longer, at the latest after `ms` milliseconds. */
  within(ms: number): AbortSignal {
    const limit = AbortSignal.timeout(ms);
    this.#limits.push(limit);
    return AbortSignal.any([this.#gone, limit, ...(this.#signal ? [this.#signal] : [])]);
  }

  /** Waits for `work`, known as `what` until it is done. */
  async wait<T>(what: string, work: Promise<T>): Promise<T> {
    this.#awaited.add(what);
    const result = await work; // What fails is still awaited when the failure is described.
    this.#awaited.delete(what);
    return result;
  }

  /** A failed start as one error that says most: why the VMM ended, rather than which connection it took along. */
  failure(cause: unknown, exit: VmExit): KilnError {
    if (this.#signal?.aborted) return new KilnError("CANCELLED", "cancelled while starting a VM", { cause });
    if (!exit.expected) return new KilnError("VM_FAILED", `the VM did not start: ${exit.reason}`, { cause });
    if (cause instanceof KilnError) return cause;
    const awaited = [...this.#awaited].join(", ");
    if (!this.#limits.some((limit) => limit.aborted)) {
      const reason = `${awaited}: ${cause instanceof Error ? cause.message : cause}`;
      return new KilnError("VM_FAILED", `the VM did not start: ${reason}`, { cause });
    }
    const message = `the VM did not start: ${this.#program} did not answer in time (${awaited})`;
    return new KilnError("TIMEOUT", message, { cause, hint: "is the machine overloaded? try again" });
  }
}
