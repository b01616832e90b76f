import type { Socket } from "node:net";
import { z } from "zod";
import { KilnError } from "../../errors.ts";

/** Longest line QEMU may send; its longest answers have a few KiB. */
const MAX_LINE_BYTES = 1024 * 1024;

const Answer = z.object({ return: z.unknown(), id: z.number() });
const Refusal = z.object({
  error: z.object({ class: z.string(), desc: z.string() }),
  id: z.number().optional(),
});
const Event = z.object({ event: z.string(), data: z.record(z.string(), z.unknown()).optional() });
const Greeting = z.object({ QMP: z.unknown() });

type Message = z.infer<typeof Answer | typeof Refusal | typeof Event | typeof Greeting>;

/** A message is what it is by one of its keys. @throws what does not parse. */
function parseMessage(line: string): Message {
  const value: unknown = JSON.parse(line);
  const has = (key: string) => typeof value === "object" && value !== null && key in value;
  if (has("event")) return Event.parse(value);
  if (has("error")) return Refusal.parse(value);
  return has("QMP") ? Greeting.parse(value) : Answer.parse(value);
}

interface Pending {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

type EventListener = (data: Record<string, unknown>) => void;

/**
 * A client of QEMU's machine protocol: one JSON object a line, answers in the order of the commands. Commands may be
 * sent without waiting for the answers of those before.
 * Source: QEMU, docs/interop/qmp-spec.
 */
export class QmpClient {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Map<string, Set<EventListener>>();
  #rest = "";
  #nextId = 1;
  #failure: KilnError | undefined;
  /** Resolves when the connection has ended, on whichever side. */
  readonly closed: Promise<void>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#receive(text));
    socket.on("error", (cause) =>
      this.#fail(new KilnError("VM_FAILED", "the control connection to QEMU broke", { cause })),
    );
    socket.on("close", () => this.#fail(new KilnError("VM_FAILED", "QEMU closed its control connection")));
  }

  /**
   * Sends a command; resolves with what QEMU returns.
   * @throws KilnError `VM_FAILED` with QEMU's description when it refuses.
   */
  execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  /** Resolves with the data of the next `event` for which `matches` is true; rejects when the connection ends. */
  waitFor(
    event: string,
    matches: (data: Record<string, unknown>) => boolean,
  ): Promise<Record<string, unknown>> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#listeners.get(event)?.delete(listener);
        this.#pending.delete(key);
      };
      const listener: EventListener = (data) => {
        if (!matches(data)) return;
        stop();
        resolve(data);
      };
      // Registered beside the commands, under a number no command has, so that it fails with them.
      const key = -this.#nextId++;
      this.#pending.set(key, { command: event, resolve: () => undefined, reject });
      const listeners = this.#listeners.get(event) ?? new Set();
      this.#listeners.set(event, listeners.add(listener));
    });
  }

  /** Ends the connection; what waits for an answer fails. */
  close(): void {
    this.#fail(new KilnError("VM_FAILED", "the control connection to QEMU was given up"));
  }

  #receive(text: string): void {
    this.#rest += text;
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MAX_LINE_BYTES) {
      this.#fail(new KilnError("VM_FAILED", "QEMU sent an endless line"));
      return;
    }
    for (const line of lines) if (line.trim() !== "") this.#dispatch(line);
  }

  #dispatch(line: string): void {
    let message: Message;
    try {
      message = parseMessage(line);
    } catch (cause) {
      this.#fail(new KilnError("VM_FAILED", "QEMU sent a line that is no QMP message", { cause }));
      return;
    }
    if ("event" in message) {
      for (const listener of [...(this.#listeners.get(message.event) ?? [])]) listener(message.data ?? {});
    } else if ("error" in message) {
      const pending = this.#take(message.id);
      pending?.reject(new KilnError("VM_FAILED", `QEMU refused ${pending.command}: ${message.error.desc}`));
    } else if ("return" in message) {
      this.#take(message.id)?.resolve(message.return);
    }
  }

  #take(id: number | undefined): Pending | undefined {
    if (id === undefined) return undefined;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #fail(error: KilnError): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#socket.destroy();
  }
}
