import { closeSync, openSync } from "node:fs";
import { readWhole } from "./whole-io.ts";

/**
 * Where blocks come from. Layers answer synchronously: their bytes are in local files, mostly in the page cache.
 * A source that has to fetch its bytes first is to be another implementation with a `prepare(position, length)` beside
 * `read`, whose promise the connection awaits before it reads; nothing else of the block layer would change.
 */
export interface Layer {
  /** Puts `length` bytes from `position` into `target` at `at`; zeros behind its end. @throws a Node.js system error. */
  read(target: Buffer, at: number, length: number, position: number): void;
  close(): void;
}

export class FileLayer implements Layer {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  static open(path: string): FileLayer {
    return new FileLayer(openSync(path, "r"));
  }

  read(target: Buffer, at: number, length: number, position: number): void {
    readWhole(this.#fd, target, at, length, position);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
