import { constants } from "node:os";
import { EndedError, READY_PATIENCE_MS } from "../../os/first-line.ts";
import { awaitEnd, killProcess } from "../../os/kill-process.ts";
import { type ProcessId, processId } from "../../os/process-id.ts";

/** How much of what it says is kept, in characters. */
const LAST_WORDS_CHARACTERS = 2_000;
/** How often one is looked at whose end nobody tells any more, in milliseconds. */
const LOOK_AGAIN_MS = 250;

/** How a process ended. Neither is known of one that was looked at from afar. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The way to the process that has forked it. */
interface Wire {
  send: (verb: "write" | "close" | "kill", text?: string) => void;
  /** Makes it a reason for this process to stay. */
  hold: () => Disposable;
}

/** A process that this one's zygote has forked. */
export class ForkedProcess {
  /** What the zygote calls it. */
  readonly number: string;
  /** Settles once everything it said has been heard. */
  readonly ended: Promise<ProcessEnd>;
  readonly #wire: Wire;
  readonly #end = Promise.withResolvers<ProcessEnd>();
  #pid: number | undefined;
  #id: ProcessId | undefined;
  #said = "";
  #onLine: (() => void) | undefined;
  #isAlive = true;
  #isLost = false;
  #held: Disposable | undefined;

  constructor(number: string, wire: Wire) {
    this.number = number;
    this.#wire = wire;
    this.ended = this.#end.promise;
  }

  /** Known from its first line on. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** Known from its first line on, unless it had ended by then. */
  get id(): ProcessId | undefined {
    return this.#id;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** The end of what it has said beside the lines that were waited for. */
  get lastWords(): string {
    return this.#said.trim();
  }

  /**
   * Waits for the next line it says; that is a reason for this process to stay.
   * @throws EndedError when it ends without one; an error when it says none within `READY_PATIENCE_MS`.
   */
  async line(): Promise<string> {
    using _held = this.#wire.hold();
    const silence = Promise.withResolvers<never>();
    const timer = setTimeout(() => silence.reject(new Error("it says nothing")), READY_PATIENCE_MS);
    try {
      const heard = new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
      if (!this.#said.includes("\n")) await Promise.race([heard, this.ended, silence.promise]);
    } finally {
      clearTimeout(timer);
      this.#onLine = undefined;
    }
    const end = this.#said.indexOf("\n");
    if (end === -1) {
      const { code, signal } = await this.ended;
      throw new EndedError(code, signal);
    }
    const line = this.#said.slice(0, end);
    this.#said = this.#said.slice(end + 1);
    return line;
  }

  write(text: string): void {
    this.#wire.send("write", text);
  }

  /** Its input ends when all have closed it that have it. */
  closeInput(): void {
    this.#wire.send("close");
  }

  kill(): void {
    if (!this.#isLost) this.#wire.send("kill");
    else if (this.#id !== undefined) killProcess(this.#id).catch(() => undefined); // `ended` tells.
  }

  /** Makes its life a reason for this process to stay. */
  keepOwner(): void {
    if (this.#isAlive) this.#held ??= this.#wire.hold();
  }

  onStarted(pid: number): void {
    this.#pid = pid;
    this.#id = processId(pid);
  }

  onSaid(text: string): void {
    this.#said = (this.#said + text).slice(-LAST_WORDS_CHARACTERS);
    if (this.#said.includes("\n")) this.#onLine?.();
  }

  onEnded({ code, signal }: { code: number; signal: number }): void {
    this.#settle(signal === 0 ? { code, signal: null } : { code: null, signal: nameOf(signal) });
  }

  /** Its zygote is gone. */
  onLost(): void {
    this.#isLost = true;
    void this.#awaitEnd().then(() => this.#settle({ code: null, signal: null }));
  }

  async #awaitEnd(): Promise<void> {
    if (this.#id === undefined) return;
    const ref = this.#held !== undefined;
    await awaitEnd(this.#id, { lookAgainMs: LOOK_AGAIN_MS, ref });
  }

  #settle(end: ProcessEnd): void {
    this.#isAlive = false;
    this.#held?.[Symbol.dispose]();
    this.#end.resolve(end);
  }
}

function nameOf(signal: number): NodeJS.Signals | null {
  const found = Object.entries(constants.signals).find(([, number]) => number === signal);
  return found === undefined ? null : (found[0] as NodeJS.Signals);
}
