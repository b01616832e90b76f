import { KilnError } from "../errors.ts";
import { Channel } from "./frame.ts";
import type { Note } from "./gen/kiln/agent/v1/agent.ts";
import type { OutputChannel, OutputPiece, OutputQueue } from "./output-queue.ts";
import { type ProcessInfo, toProcessInfo, toSafeNumber } from "./process-info.ts";
import type { StreamSink } from "./stream.ts";

/** How far each output has come, in bytes from its beginning. */
export type Offsets = Record<OutputChannel, number>;

/** A piece and the reader it came by: only that one's stream gets credit for it. */
export interface ReceivedPiece extends OutputPiece {
  reader: ProcessReader;
}

const NAMES = new Map<Channel, OutputChannel>([
  [Channel.output, "stdout"],
  [Channel.error, "stderr"],
]);

/**
 * One attachment to a kept process: numbers the bytes that come, leaves out what was delivered by an earlier one, and
 * tells of gaps.
 */
export class ProcessReader implements StreamSink {
  /** Offset of the byte that the guest sends next. */
  readonly #next: Offsets;
  /** Up to where output is on its way to whoever reads, or with it. */
  readonly #delivered: Offsets;
  readonly #queue: OutputQueue<ReceivedPiece>;
  readonly #onProcess: (process: ProcessInfo) => void;
  readonly #onConsumed: (bytes: number) => void;
  /** As the guest told at the beginning. */
  process: ProcessInfo | undefined;

  constructor(
    from: Offsets,
    given: Offsets,
    queue: OutputQueue<ReceivedPiece>,
    onProcess: (process: ProcessInfo) => void,
    onConsumed: (bytes: number) => void,
  ) {
    this.#next = { ...from };
    this.#delivered = { ...given };
    this.#queue = queue;
    this.#onProcess = onProcess;
    this.#onConsumed = onConsumed;
  }

  /** Up to where the guest has told of each output. */
  get reached(): Readonly<Offsets> {
    return this.#next;
  }

  note({ kind }: Note): void {
    if (kind?.$case === "process" && !this.process) {
      this.process = toProcessInfo(kind.value);
      this.#onProcess(this.process);
    } else if (kind?.$case === "skipped" && this.process) {
      const channel = NAMES.get(kind.value.channel as Channel);
      const offset = toSafeNumber(kind.value.offset);
      if (channel === undefined || offset <= this.#next[channel])
        throw new KilnError("GUEST_PROTOCOL", "the guest skipped backwards");
      this.#next[channel] = offset;
      this.#deliver(channel, Buffer.alloc(0));
    } else {
      throw new KilnError("GUEST_PROTOCOL", "the guest sent a note that does not belong there");
    }
  }

  data(number: Channel, bytes: Buffer): void {
    const channel = NAMES.get(number);
    if (channel === undefined || !this.process)
      throw new KilnError("GUEST_PROTOCOL", "the guest sent output before the process");
    const known = Math.min(bytes.length, Math.max(0, this.#delivered[channel] - this.#next[channel]));
    this.#next[channel] += known;
    if (known > 0) this.#onConsumed(known);
    if (known < bytes.length) this.#deliver(channel, bytes.subarray(known));
  }

  #deliver(channel: OutputChannel, bytes: Buffer): void {
    const offset = this.#next[channel];
    const missing = Math.max(0, offset - this.#delivered[channel]);
    this.#next[channel] = offset + bytes.length;
    if (missing === 0 && bytes.length === 0) return;
    this.#delivered[channel] = this.#next[channel];
    const last = this.#queue.last(channel);
    if (last && last.bytes.length === 0 && bytes.length === 0) {
      // One gap, however often the guest tells of it.
      last.offset = offset;
      last.missing += missing;
    } else this.#queue.push({ channel, offset, bytes, missing, reader: this });
  }

  end(): void {}
  finish(): void {}
}
