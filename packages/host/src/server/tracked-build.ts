import { EventEmitter, once } from "node:events";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { BuildFiles } from "./build-files.ts";
import type { BuildOutcome, BuildProgress } from "./build-process.ts";
import type { ErrorBody } from "./schemas/common.ts";
import type { Build, BuildEvent } from "./schemas/template.ts";

/** An update of the same stage is worth a line this often, in milliseconds. */
const MESSAGE_INTERVAL_MS = 100;
const MAX_MESSAGE = 1_000;
/** The stage of a build that waits for others to end. */
const QUEUE = "queue";

/** An end that comes from outside. */
export interface Stop {
  state: "cancelled" | "failed";
  error: ErrorBody;
}

/** What `TrackedBuild` tells of what it could not do. */
type Log = (message: string, fields: object) => void;

/** One build of a daemon: its state and its events, each a file, told to whoever follows it, and its end. */
export class TrackedBuild {
  /** Tells the same build asked for twice. Of one that a former daemon left it is empty. */
  readonly key: string;
  readonly #files: BuildFiles;
  readonly #log: Log;
  readonly #queuedAt = performance.now();
  readonly #events = new EventEmitter<{ event: [] }>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #build: Build;
  /** Its place among those that wait, from 1. */
  #place: number | undefined;
  #stop: Stop | undefined;

  constructor(home: KilnHome, build: Build, log: Log, key = "") {
    this.key = key;
    this.#files = new BuildFiles(home, build.id);
    this.#build = build;
    this.#log = log;
    this.#events.setMaxListeners(0);
    if (this.hasEnded) this.#ended.resolve();
  }

  get id(): string {
    return this.#build.id;
  }

  get state(): Build["state"] {
    return this.#build.state;
  }

  get hasEnded(): boolean {
    return this.#build.finished_at !== undefined;
  }

  /** Resolves when it has ended, however it did. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Fires when its process is to end. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** It as clients are told of it. */
  tell(): Build {
    const [build, place] = [this.#build, this.#place];
    return build.state === "queued" && place !== undefined ? { ...build, queue_position: place } : build;
  }

  /** Writes it down for the first time. @throws the system's error: of what is on no disk, nothing is acknowledged. */
  writeFirst(): Promise<void> {
    return this.#files.write(this.#build);
  }

  /** Writes the state. On a full disk it is in memory alone: after a restart such a build counts as cut off. */
  async #write(change: Partial<Build>): Promise<void> {
    this.#build = { ...this.#build, ...change };
    await this.#files.write(this.#build).catch((error) => {
      this.#log("a build's state cannot be written", { build: this.id, err: error });
    });
  }

  #emit(event: BuildEvent): Promise<void> {
    // Readers are told when it is in the file.
    return this.#files.append(event).then(() => void this.#events.emit("event"));
  }

  /** Tells those who follow it that it waits, and for how many. */
  queue(place: number, parallel: number): void {
    if (this.#place === place) return;
    if (this.#place === undefined) void this.#emit({ type: "stage", stage: QUEUE, status: "started" });
    this.#place = place;
    const many = parallel === 1 ? "one build runs" : `${parallel} builds run`;
    void this.#emit({ type: "message", stage: QUEUE, message: `place ${place}; ${many} at once` });
  }

  /** It waits no longer: it counts as running before this resolves. */
  begin(): Promise<void> {
    if (this.#place !== undefined) {
      const elapsed = Math.round(performance.now() - this.#queuedAt);
      void this.#emit({ type: "stage", stage: QUEUE, status: "done", elapsed_ms: elapsed });
    }
    return this.#write({ state: "running" });
  }

  /** Turns its progress into its events: of many updates only now and then one. */
  reporter(): (progress: BuildProgress) => void {
    let lastMessage = Number.NEGATIVE_INFINITY;
    return ({ stage, status, message, fraction, ms }) => {
      if (status !== "update") {
        const elapsed = ms === undefined ? {} : { elapsed_ms: ms };
        void this.#emit({
          type: "stage",
          stage,
          status: status === "start" ? "started" : status,
          ...elapsed,
        });
        return;
      }
      const now = performance.now();
      if (message === undefined || now - lastMessage < MESSAGE_INTERVAL_MS) return;
      lastMessage = now;
      const done = fraction === undefined ? {} : { fraction };
      void this.#emit({ type: "message", stage, message: message.slice(0, MAX_MESSAGE), ...done });
    };
  }

  /** Has its process end; what it is told to be then, it becomes unless it was done before. */
  stop(stop: Stop): void {
    this.#stop ??= stop;
    this.#stopping.abort();
  }

  /** Ends it as its process has ended. One that was done before it could be stopped is done. */
  async endAs(outcome: BuildOutcome): Promise<void> {
    if (outcome.result === "done") await this.end("done");
    else if (this.#stop !== undefined) await this.end(this.#stop.state, this.#stop.error);
    else await this.end("failed", outcome.error);
  }

  async end(state: Build["state"], error?: ErrorBody): Promise<void> {
    const finished_at = new Date().toISOString();
    await this.#write({ state, finished_at, ...(error === undefined ? {} : { error }) });
    await this.#emit(this.#endEvent());
    this.#ended.resolve();
  }

  #endEvent(): BuildEvent {
    return { type: "end", build: this.#build };
  }

  /** Its events from the beginning, then as they come, to its end. */
  async *events(signal?: AbortSignal): AsyncGenerator<string> {
    let seen = 0;
    for (;;) {
      // Before the file is read: what is written meanwhile is not missed.
      const more = once(this.#events, "event", signal ? { signal } : {}).catch(() => undefined);
      const isOver = this.hasEnded;
      let line = 0;
      for await (const text of this.#files.lines()) {
        line += 1;
        if (line <= seen) continue;
        seen = line;
        yield `${text}\n`;
        if (text.startsWith('{"type":"end"')) return;
      }
      if (signal?.aborted) return;
      if (isOver) {
        yield `${JSON.stringify(this.#endEvent())}\n`; // A full disk had no room for it.
        return;
      }
      await more;
    }
  }

  /** Resolves when it is done. @throws KilnError with its own failure, or `CANCELLED` when `signal` fires. */
  async wait(signal?: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal?.addEventListener("abort", abort);
    try {
      await Promise.race([this.ended, aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    if (signal?.aborted) throw new KilnError("CANCELLED", "nobody waits for the build any more");
    const { state, error } = this.#build;
    if (state === "done") return;
    throw new KilnError(error?.code ?? "BUILD_FAILED", error?.message ?? "the build failed", {
      ...(error?.hint === undefined ? {} : { hint: error.hint }),
      details: { ...error?.details, build: this.id },
    });
  }

  /** Removes its state and its events. */
  remove(): Promise<void> {
    return this.#files.remove();
  }
}
