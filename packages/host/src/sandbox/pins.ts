/** Names that must not be removed although nothing on disk refers to them yet. */
export class Pins {
  readonly #counts = new Map<string, number>();

  has(name: string): boolean {
    return this.#counts.has(name);
  }

  get names(): Iterable<string> {
    return this.#counts.keys();
  }

  /** Pins `names` until what it returns is disposed. */
  add(names: readonly string[]): Disposable {
    for (const name of names) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const name of names) {
          const count = this.#counts.get(name) ?? 0;
          if (count > 1) this.#counts.set(name, count - 1);
          else this.#counts.delete(name);
        }
      },
    };
  }
}
