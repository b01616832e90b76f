/** How many of a kind are there before anybody asks. */
const SPARE = 2;
/**
 * How long after one was taken the next is made, in milliseconds: making one is much of the work of a start, and whoever has taken one is about to
 * start. When none is left somebody may be about to ask.
 */
const REFILL_AFTER_MS = 3_000;
const REFILL_EMPTY_AFTER_MS = 300;

/** What this process has made ahead of the VMs that need it. What is not taken is to end with this process by itself. */
export class Spares<T> {
  readonly #make: () => Promise<T>;
  readonly #isUsable: (spare: T) => boolean;
  #made: Promise<T>[] = [];
  #refill: NodeJS.Timeout | undefined;

  constructor(make: () => Promise<T>, isUsable: (spare: T) => boolean) {
    this.#make = make;
    this.#isUsable = isUsable;
  }

  /** Makes some ahead. A failure shows in whoever needs one. */
  warm(): void {
    while (this.#made.length < SPARE) {
      const making = this.#make();
      making.catch(() => undefined);
      this.#made.push(making);
    }
  }

  /**
   * Gives one to a VM.
   * @param isNew whether it has to be made now, to see what the host has mounted a moment ago. @throws what making it does.
   */
  async take({ isNew = false }: { isNew?: boolean | undefined } = {}): Promise<T> {
    const spare = await (isNew ? this.#make() : this.#next());
    clearTimeout(this.#refill);
    const after = this.#made.length === 0 ? REFILL_EMPTY_AFTER_MS : REFILL_AFTER_MS;
    this.#refill = setTimeout(() => this.warm(), after).unref();
    return spare;
  }

  /** One that is still usable. */
  async #next(): Promise<T> {
    for (let making = this.#made.shift(); making !== undefined; making = this.#made.shift()) {
      const spare = await making.catch(() => undefined);
      if (spare !== undefined && this.#isUsable(spare)) return spare;
    }
    return this.#make();
  }
}
