const MIB = 1024 * 1024;
const INTERVAL_MS = process.stderr.isTTY ? 200 : 2_000;

export const mib = (bytes: number): string => `${(bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)} MiB`;

/** Says on standard error how far something has come, how fast it goes and how long it will take: one line that changes, or lines. */
export class RateLine {
  readonly #what: string;
  readonly #started = performance.now();
  #last = 0;

  constructor(what: string) {
    this.#what = what;
  }

  /** @param done of `total`; `moved`: bytes sent or received so far. */
  show(done: number, total: number, moved: number): void {
    const now = performance.now();
    if (now - this.#last < INTERVAL_MS) return;
    this.#last = now;
    const seconds = (now - this.#started) / 1000;
    const left = done > 0 && done < total ? `, ${Math.ceil((seconds * (total - done)) / done)} s left` : "";
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
    const text = `kiln: ${this.#what}: ${percent} %, ${mib(moved)} at ${mib(moved / Math.max(seconds, 0.001))}/s${left}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}
