import type { ChildProcess } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";

/** The parts one start of a sandbox consists of, in order. */
const PARTS = [
  "disk added",
  "QEMU up",
  "state loaded, guest running",
  "agent's first word",
  "first echo",
] as const;
export type StartPart = (typeof PARTS)[number];
export type StartSpans = Record<StartPart, number>;

const QMP_GREETING = '{"QMP"';
const GUEST_RUNS = '"RESUME"';

/**
 * Sees from outside where the time of starting a sandbox goes: Node.js itself announces every process and every
 * connection it makes (diagnostics_channel), so the code that is measured needs no marks and runs as it always does.
 */
export class StartTrace implements Disposable {
  readonly #started = performance.now();
  readonly #marks: Partial<Record<StartPart, number>> = {};
  readonly #onProcess = (message: unknown) =>
    this.#watchProcess((message as { process: ChildProcess }).process);
  readonly #onSocket = (message: unknown) => this.#watchSocket((message as { socket: Socket }).socket);

  constructor() {
    subscribe("child_process", this.#onProcess);
    subscribe("net.client.socket", this.#onSocket);
  }

  #mark(part: StartPart, time = performance.now()): void {
    this.#marks[part] ??= time;
  }

  #watchProcess(child: ChildProcess): void {
    const time = performance.now();
    child.once("spawn", () => {
      if (child.spawnargs.some((word) => word.includes("qemu-system"))) this.#mark("disk added", time);
    });
  }

  /**
   * There are two connections to a VM: the one on which QEMU speaks first is QMP, the other is the agent's. That somebody tries to make one says that
   * a process which was there before is about to become QEMU.
   */
  #watchSocket(socket: Socket): void {
    this.#mark("disk added");
    let role: "unknown" | "qmp" | "agent" = "unknown";
    socket.on("data", (chunk: Buffer | string) => {
      if (role === "agent") return;
      const text = chunk.toString();
      if (role === "unknown") role = text.startsWith(QMP_GREETING) ? "qmp" : "agent";
      if (role === "agent") this.#mark("agent's first word");
      else if (text.includes(GUEST_RUNS)) this.#mark("state loaded, guest running");
      if (role === "qmp") this.#mark("QEMU up");
    });
  }

  /** What was seen, with the end of the start being now; undefined when a step was not seen. */
  finish(): { ms: number; spans: StartSpans | undefined } {
    this.#mark("first echo");
    const spans: Partial<StartSpans> = {};
    let before = this.#started;
    for (const part of PARTS) {
      const time = this.#marks[part];
      if (time === undefined) continue;
      spans[part] = time - before;
      before = time;
    }
    return { ms: before - this.#started, spans: isComplete(spans) ? spans : undefined };
  }

  [Symbol.dispose](): void {
    unsubscribe("child_process", this.#onProcess);
    unsubscribe("net.client.socket", this.#onSocket);
  }
}

function isComplete(spans: Partial<StartSpans>): spans is StartSpans {
  return PARTS.every((part) => spans[part] !== undefined);
}

/** The spans of many starts as one series a part. */
export function spanSeries<Part extends string>(
  spans: readonly Readonly<Record<Part, number>>[],
): { label: Part; values: number[] }[] {
  const [first] = spans;
  if (!first) return [];
  return (Object.keys(first) as Part[]).map((label) => ({ label, values: spans.map((span) => span[label]) }));
}
