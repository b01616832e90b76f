import type { Disk } from "../disk/disk.ts";
import { toNbdError } from "./error-number.ts";
import type { ExportCounters } from "./export.ts";
import type { Output } from "./output.ts";
import { SIMPLE_REPLY_SIZE } from "./protocol.ts";
import { putSimpleReply } from "./replies.ts";

/** Flushes one connection may have under way; then it is not read from until one is done. */
const MAX_UNDER_WAY = 128;

/** The flushes of one connection, those of FUA writes included: the only requests that take time beside others. */
export class Flushes {
  readonly #disk: Disk;
  readonly #onDone: () => void;
  #underWay = 0;
  /** Answers not given yet: cookie high, cookie low, error, and so on. */
  readonly #done: number[] = [];

  /** `onDone` is called when there is something to answer. */
  constructor(disk: Disk, onDone: () => void) {
    this.#disk = disk;
    this.#onDone = onDone;
  }

  get full(): boolean {
    return this.#underWay >= MAX_UNDER_WAY;
  }

  /** Whether all are done; they may still have to be answered. */
  get idle(): boolean {
    return this.#underWay === 0;
  }

  start(cookieHigh: number, cookieLow: number): void {
    this.#underWay++;
    const done = (error: number) => {
      this.#underWay--;
      this.#done.push(cookieHigh, cookieLow, error);
      this.#onDone();
    };
    this.#disk.flush().then(
      () => done(0),
      (error: unknown) => done(toNbdError(error)),
    );
  }

  /** Answers those that are done. Not to be called in the middle of another reply. */
  answer(output: Output, counters: ExportCounters): void {
    const done = this.#done;
    if (done.length === 0) return;
    for (let index = 0; index < done.length; index += 3) {
      const error = done[index + 2] ?? 0;
      if (error !== 0) counters.errors++;
      const at = output.claim(SIMPLE_REPLY_SIZE);
      putSimpleReply(output.bytes, at, error, done[index] ?? 0, done[index + 1] ?? 0);
    }
    done.length = 0;
  }
}
