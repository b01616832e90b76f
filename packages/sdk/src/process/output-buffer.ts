import type { OutputChannel, OutputEvent } from "./output-stream.ts";

/** Kept of what is not read yet, in bytes of each reader. */
const MAX_KEPT_BYTES = 1024 * 1024;

/**
 * One reader's view of a process's output: a queue between the connection and whoever iterates. Before anybody iterates the oldest
 * output gives way, so that a process never waits for a reader that does not come; from then on the connection waits.
 */
export class OutputBuffer {
  readonly #wants: (event: OutputEvent) => boolean;
  #events: OutputEvent[] = [];
  #bytes = 0;
  #reading = false;
  #ended = false;
  #failure: unknown;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(wants: (event: OutputEvent) => boolean) {
    this.#wants = wants;
  }

  /** Takes an event; the promise it may give resolves when there is room for another. */
  push(event: OutputEvent): Promise<void> | undefined {
    if (!this.#wants(event)) return undefined;
    this.#events.push(event);
    this.#bytes += sizeOf(event);
    if (!this.#reading) this.#giveWay();
    this.#wakeReader?.();
    if (this.#bytes <= MAX_KEPT_BYTES) return undefined;
    return new Promise((resolve) => {
      this.#wakeWriter = resolve;
    });
  }

  #giveWay(): void {
    const lost = { stdout: 0, stderr: 0 };
    while (this.#bytes > MAX_KEPT_BYTES) {
      const event = this.#events.shift();
      if (event === undefined) break;
      this.#bytes -= sizeOf(event);
      if (event.type === "dropped") lost[event.channel] += event.bytes;
      else lost[event.type] += event.data.length;
    }
    for (const channel of ["stdout", "stderr"] as const satisfies OutputChannel[]) {
      if (lost[channel] === 0) continue;
      const first = this.#events.find((event) => event.type === "dropped" && event.channel === channel);
      if (first?.type === "dropped") first.bytes += lost[channel];
      else this.#events.unshift({ type: "dropped", channel, bytes: lost[channel] });
    }
  }

  end(failure?: unknown): void {
    this.#ended = true;
    this.#failure = failure;
    this.#wakeReader?.();
  }

  /** The events to the end. Whoever stops early lets the process go on without a reader. */
  async *read(): AsyncGenerator<OutputEvent, void> {
    this.#reading = true;
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event !== undefined) {
          this.#bytes -= sizeOf(event);
          this.#release();
          yield event;
        } else if (this.#ended) {
          if (this.#failure !== undefined) throw this.#failure;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      this.#reading = false;
      this.#giveWay();
      this.#release();
    }
  }

  #release(): void {
    if (this.#bytes > MAX_KEPT_BYTES) return;
    this.#wakeWriter?.();
    this.#wakeWriter = undefined;
  }
}

const sizeOf = (event: OutputEvent): number => (event.type === "dropped" ? 0 : event.data.length);
