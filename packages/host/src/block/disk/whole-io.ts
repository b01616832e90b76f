import { readSync, writeSync } from "node:fs";

/**
 * Reads `length` bytes at `position`; what lies behind the end of the file reads as zeros.
 * The whole block layer lives in a process of its own and reads the page cache, so the calls are synchronous.
 *
 * @throws a Node.js system error.
 */
export function readWhole(fd: number, target: Buffer, at: number, length: number, position: number): void {
  let done = readSync(fd, target, at, length, position);
  while (done < length) {
    const more = readSync(fd, target, at + done, length - done, position + done);
    if (more === 0) {
      target.fill(0, at + done, at + length);
      return;
    }
    done += more;
  }
}

/** Writes `length` bytes at `position`, all of them. @throws a Node.js system error. */
export function writeWhole(
  fd: number,
  source: Uint8Array,
  at: number,
  length: number,
  position: number,
): void {
  let done = writeSync(fd, source, at, length, position);
  while (done < length) done += writeSync(fd, source, at + done, length - done, position + done);
}
