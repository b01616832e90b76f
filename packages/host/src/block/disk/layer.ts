import { closeSync, openSync } from "node:fs";
import { readWhole } from "./whole-io.ts";

/**
 * Where blocks come from. Layers answer synchronously: their bytes are in local files, mostly in the page cache. What has to be
 * brought from elsewhere is asked for with `fetch`, which the connection waits for before it reads.
 */
export interface Layer {
  /** Puts `length` bytes from `position` into `target` at `at`; zeros behind its end. @throws a Node.js system error. */
  read(target: Buffer, at: number, length: number, position: number): void;
  /** Brings a stretch that is not there: undefined when it is. `read` of what cannot be brought fails. Absent: all is there. */
  fetch?(length: number, position: number): Promise<void> | undefined;
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
