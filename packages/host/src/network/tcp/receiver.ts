import type { Duplex } from "node:stream";
import type { FirstBytes } from "../policy/first-bytes.ts";
import { advance, after } from "./segment.ts";

/** Most bytes of a connection that wait for the other side to take them. */
const WINDOW_BYTES = 256 * 1024;
/** So that a window of that size can be told. */
export const WINDOW_SHIFT = 3;
/** The guest is told of new room when so much has become free. */
const WORTH_TELLING = WINDOW_BYTES / 4;

/** Bytes held for all connections of a guest. */
export interface Held {
  bytes: number;
  readonly limit: number;
}

/** The guest's half of a connection: takes its bytes in order, and passes them on. */
export class Receiver {
  /** What is expected next. */
  next: number;
  /** The guest has sent its last byte. */
  ended = false;
  readonly #upstream: Duplex;
  readonly #scaled: boolean;
  readonly #held: Held;
  readonly #onRoom: () => void;
  /** Looks at what comes first; undefined when there is nothing to look for, or no more. */
  #inspection: FirstBytes | undefined;
  #kept: Buffer[] = [];
  #waiting = 0;
  /** What the guest was told it may send up to. */
  #edge: number;

  /** `onRoom` is called when the guest should be told that it may send more. */
  constructor(
    upstream: Duplex,
    initial: number,
    options: { scaled: boolean; held: Held; inspection: FirstBytes | undefined; onRoom: () => void },
  ) {
    this.#upstream = upstream;
    this.next = advance(initial, 1);
    this.#edge = this.next;
    this.#scaled = options.scaled;
    this.#held = options.held;
    this.#inspection = options.inspection;
    this.#onRoom = options.onRoom;
  }

  /** The window field of the next segment, which from then on is promised. */
  window(): number {
    const shift = this.#scaled ? WINDOW_SHIFT : 0;
    const room = Math.min(this.#room(), 0xffff << shift);
    // What was promised stays promised.
    const window = Math.max(room, after(this.#edge, this.next), 0) >> shift;
    this.#edge = advance(this.next, window << shift);
    return window;
  }

  /** The window field of a SYN, which is never scaled. */
  firstWindow(): number {
    this.#edge = advance(this.next, 0xffff);
    return 0xffff;
  }

  /** Whether a segment that begins at `sequence` touches what is expected. */
  inWindow(sequence: number): boolean {
    return after(sequence, this.next) >= 0 && after(sequence, this.#edge) <= 0;
  }

  /**
   * Takes data that begins at `sequence`, as far as it is new, in order and was asked for. A refusal is what the inspection says.
   */
  take(
    buffer: Buffer,
    start: number,
    end: number,
    sequence: number,
  ): "taken" | "nothing" | { refused: string } {
    const old = after(this.next, sequence);
    if (old < 0) return "nothing";
    const from = start + old;
    const count = Math.min(end - from, after(this.#edge, this.next));
    if (count <= 0 || this.ended || this.#held.bytes + count > this.#held.limit) return "nothing";
    const chunk = Buffer.from(buffer.subarray(from, from + count));
    this.next = advance(this.next, count);
    this.#waiting += count;
    this.#held.bytes += count;
    if (this.#inspection === undefined) this.#pass(chunk);
    else return this.#inspect(this.#inspection, chunk);
    return "taken";
  }

  /** The guest's end: of the bytes it sends, all of which have been taken. */
  end(): "taken" | { refused: string } {
    this.ended = true;
    this.next = advance(this.next, 1);
    if (this.#kept.length > 0) return { refused: "it ended before it said where it wanted to go" };
    this.#upstream.end();
    return "taken";
  }

  /** Gives back what it holds. */
  release(): void {
    this.#held.bytes -= this.#waiting;
    this.#waiting = 0;
    this.#kept = [];
  }

  #inspect(inspection: FirstBytes, chunk: Buffer): "taken" | { refused: string } {
    this.#kept.push(chunk);
    const verdict = inspection.push(chunk);
    if (verdict === "hold") return "taken";
    if (typeof verdict === "object") return verdict;
    if (verdict === "pass") this.#inspection = undefined;
    for (const kept of this.#kept) this.#pass(kept);
    this.#kept = [];
    return "taken";
  }

  #pass(chunk: Buffer): void {
    this.#upstream.write(chunk, () => {
      if (this.#waiting === 0) return; // Released meanwhile.
      this.#waiting -= chunk.length;
      this.#held.bytes -= chunk.length;
      if (this.#room() - after(this.#edge, this.next) >= WORTH_TELLING) this.#onRoom();
    });
  }

  #room(): number {
    return Math.max(0, WINDOW_BYTES - this.#waiting);
  }
}
