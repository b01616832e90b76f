import { createHash, randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { readdir } from "node:fs/promises";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { sweepOwnedFolders } from "../os/owned-folder.ts";
import { findBootable, type Variant } from "../sandbox/find-bootable.ts";
import { checksOf, writtenSpec } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { rootfsHash } from "../template/spec-hash.ts";
import { saveTemplate } from "../template/templates.ts";
import { BuildFiles } from "./build-files.ts";
import { type BuildOutcome, type BuildProgress, runBuildProcess } from "./build-process.ts";
import type { ErrorBody } from "./schemas/common.ts";
import type { Build, BuildEvent } from "./schemas/template.ts";

/** Builds kept after their end. */
const KEPT = 50;
/** An update of the same stage is worth a line this often, in milliseconds. */
const MESSAGE_INTERVAL_MS = 100;
const MAX_MESSAGE = 1_000;
/** The stage of a build that waits for others to end. */
const QUEUE = "queue";

export interface BuildRequest extends Variant {
  spec: TemplateSpec;
  /** How long one step may take, in milliseconds, when not as the configuration says. */
  stepTimeoutMs?: number | undefined;
  save: boolean;
}

export interface BuildsOptions {
  home: KilnHome;
  /** Builds at once. */
  parallel: number;
  /** How long one step may take, in milliseconds. */
  stepTimeoutMs: number;
  /** Room on the disk that builds have to leave, in MiB. */
  minFreeDiskMib: number;
  onEnd: (build: Build, ms: number) => void;
  log: (message: string, fields: object) => void;
}

/** An end that comes from outside. */
interface Stop {
  state: "cancelled" | "failed";
  error: ErrorBody;
}

interface Entry {
  build: Build;
  files: BuildFiles;
  /** Tells the same build asked for twice. */
  key: string;
  request: BuildRequest;
  /** Resolves when the build is on disk. */
  accepted: Promise<void>;
  /** Whether it may start, or waits for that. */
  isReady: boolean;
  /** Its place among those that wait, from 1. */
  place: number | undefined;
  queuedAt: number;
  events: EventEmitter<{ event: [] }>;
  stopping: AbortController;
  stop: Stop | undefined;
  ended: PromiseWithResolvers<void>;
}

const CANCELLED: Stop = {
  state: "cancelled",
  error: { code: "CANCELLED", message: "the build was cancelled" },
};
const DAEMON_ENDED: Stop = {
  state: "failed",
  error: {
    code: "BUILD_INTERRUPTED",
    message: "the daemon ended during the build",
    hint: "built again, it goes on from the step cache",
  },
};

/** The daemon's builds: at most so many at once, the others wait in the order they came. State and events of each are files. */
export class Builds implements AsyncDisposable {
  readonly #options: BuildsOptions;
  readonly #entries = new Map<string, Entry>();
  #running = 0;
  #sweeping = Promise.resolve();

  constructor(options: BuildsOptions) {
    this.#options = options;
  }

  /** Reads what former daemons left; their builds that did not end are over, and what those left goes away. */
  async open(): Promise<void> {
    const { home } = this.#options;
    let cutOff = false;
    for (const id of await readdir(home.builds).catch(() => [])) {
      const files = new BuildFiles(home, id);
      const build = await files.read();
      if (!build) {
        await files.remove();
        continue;
      }
      const entry = this.#entry(build, "", { spec: {} as TemplateSpec, save: false });
      if (hasEnded(entry)) entry.ended.resolve();
      else {
        cutOff = true;
        await this.#finish(entry, DAEMON_ENDED.state, DAEMON_ENDED.error);
      }
    }
    if (cutOff) this.#sweeping = this.#sweep();
    await this.#prune();
  }

  #entry(build: Build, key: string, request: BuildRequest): Entry {
    const events = new EventEmitter<{ event: [] }>();
    events.setMaxListeners(0);
    const entry: Entry = {
      build,
      files: new BuildFiles(this.#options.home, build.id),
      key,
      request,
      accepted: Promise.resolve(),
      isReady: false,
      place: undefined,
      queuedAt: performance.now(),
      events,
      stopping: new AbortController(),
      stop: undefined,
      ended: Promise.withResolvers(),
    };
    this.#entries.set(build.id, entry);
    return entry;
  }

  /** Oldest first. */
  list(): Build[] {
    return [...this.#entries.values()].map(tell).sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  }

  get(id: string): Build {
    return tell(this.#find(id));
  }

  #find(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw new KilnError("BUILD_NOT_FOUND", `there is no build "${id}"`, { hint: "kiln build ls lists them" });
  }

  /** Starts a build, or gives the one of the same spec that is under way. What is built already is done at once. */
  async start(request: BuildRequest): Promise<Build> {
    const { spec, vcpu = spec.vcpu, memoryMib = spec.memory_mib, engine = "auto", save } = request;
    const name = save ? spec.name : "";
    const key = createHash("sha256")
      .update(JSON.stringify([rootfsHash(spec), checksOf(spec), vcpu, memoryMib, engine, name]))
      .digest("hex");
    for (const entry of this.#entries.values()) {
      if (entry.key !== key || hasEnded(entry)) continue;
      await entry.accepted;
      return tell(entry);
    }
    const id = randomBytes(6).toString("hex");
    const build: Build = { id, template: spec.name, state: "queued", created_at: new Date().toISOString() };
    const entry = this.#entry(build, key, request);
    entry.accepted = this.#accept(entry);
    await entry.accepted;
    return tell(entry);
  }

  async #accept(entry: Entry): Promise<void> {
    const { home } = this.#options;
    const { spec, vcpu, memoryMib, engine, save } = entry.request;
    try {
      // What is built already is known sooner than a process is started, and waits for no other.
      const isBuilt = (await findBootable(home, spec, { vcpu, memoryMib, engine })) !== undefined;
      if (!isBuilt) await entry.files.write(entry.build);
      else if (save) await saveTemplate(home, spec);
      if (hasEnded(entry)) return; // Cancelled meanwhile.
      if (isBuilt) await this.#finish(entry, "done");
    } catch (error) {
      this.#entries.delete(entry.build.id);
      await entry.files.remove();
      throw error;
    }
    entry.isReady = true;
    this.#next();
  }

  /** Those that wait, in the order they came. */
  #waiting(): Entry[] {
    return [...this.#entries.values()].filter(({ build, isReady }) => isReady && build.state === "queued");
  }

  /** Starts what may start, and tells the others their place. */
  #next(): void {
    const waiting = this.#waiting();
    while (this.#running < this.#options.parallel) {
      const entry = waiting.shift();
      if (entry === undefined) break;
      this.#running += 1;
      entry.build = { ...entry.build, state: "running" };
      void this.#run(entry).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
    for (const [index, entry] of waiting.entries()) this.#tellPlace(entry, index + 1);
  }

  #tellPlace(entry: Entry, place: number): void {
    if (entry.place === place) return;
    if (entry.place === undefined) this.#emit(entry, { type: "stage", stage: QUEUE, status: "started" });
    entry.place = place;
    const { parallel } = this.#options;
    const many = parallel === 1 ? "one build runs" : `${parallel} builds run`;
    this.#emit(entry, { type: "message", stage: QUEUE, message: `place ${place}; ${many} at once` });
  }

  #emit(entry: Entry, event: BuildEvent): Promise<void> {
    // Readers are told when it is in the file.
    return entry.files.append(event).then(() => void entry.events.emit("event"));
  }

  /** Runs a build to its end. Never rejects. */
  async #run(entry: Entry): Promise<void> {
    const { home, stepTimeoutMs, minFreeDiskMib, onEnd } = this.#options;
    if (entry.place !== undefined) {
      const elapsed = Math.round(performance.now() - entry.queuedAt);
      void this.#emit(entry, { type: "stage", stage: QUEUE, status: "done", elapsed_ms: elapsed });
    }
    await this.#write(entry, {});
    const started = performance.now();
    const { spec, vcpu, memoryMib, engine, save } = entry.request;
    const request = {
      home: home.root,
      spec: writtenSpec(spec),
      save,
      stepTimeoutMs: entry.request.stepTimeoutMs ?? stepTimeoutMs,
      minFreeDiskMib,
      ...(vcpu === undefined ? {} : { vcpu }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
      ...(engine === undefined ? {} : { engine }),
    };
    const outcome = await runBuildProcess(request, {
      signal: entry.stopping.signal,
      onProgress: this.#reporter(entry),
    });
    // When a build has ended nothing of it is left; what was not told by now the next build removes.
    if (outcome.result === "lost") await this.#sweep();
    await this.#finish(entry, ...endOf(outcome, entry.stop));
    onEnd(entry.build, performance.now() - started);
  }

  /** Turns a build's progress into its events: of many updates only now and then one. */
  #reporter(entry: Entry): (progress: BuildProgress) => void {
    let lastMessage = Number.NEGATIVE_INFINITY;
    return ({ stage, status, message, fraction, ms }) => {
      if (status !== "update") {
        const elapsed = ms === undefined ? {} : { elapsed_ms: ms };
        void this.#emit(entry, {
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
      void this.#emit(entry, { type: "message", stage, message: message.slice(0, MAX_MESSAGE), ...done });
    };
  }

  /** Writes the state. On a full disk it is in memory alone: after a restart such a build counts as cut off. */
  async #write(entry: Entry, change: Partial<Build>): Promise<void> {
    entry.build = { ...entry.build, ...change };
    await entry.files.write(entry.build).catch((error) => {
      this.#options.log("a build's state cannot be written", { build: entry.build.id, err: error });
    });
  }

  async #finish(entry: Entry, state: Build["state"], error?: ErrorBody): Promise<void> {
    const finished_at = new Date().toISOString();
    await this.#write(entry, { state, finished_at, ...(error === undefined ? {} : { error }) });
    await this.#emit(entry, endEvent(entry));
    entry.ended.resolve();
    await this.#prune();
  }

  /** The events of a build from its beginning, then as they come, to its end. */
  async *events(id: string, signal?: AbortSignal): AsyncGenerator<string> {
    const entry = this.#find(id);
    let seen = 0;
    for (;;) {
      // Before the file is read: what is written meanwhile is not missed.
      const more = once(entry.events, "event", signal ? { signal } : {}).catch(() => undefined);
      const isOver = hasEnded(entry);
      let line = 0;
      for await (const text of entry.files.lines()) {
        line += 1;
        if (line <= seen) continue;
        seen = line;
        yield `${text}\n`;
        if (text.startsWith('{"type":"end"')) return;
      }
      if (signal?.aborted) return;
      if (isOver) {
        yield `${JSON.stringify(endEvent(entry))}\n`; // A full disk had no room for it.
        return;
      }
      await more;
    }
  }

  /** Resolves when the build has ended. @throws KilnError with the build's own failure. */
  async wait(id: string, signal?: AbortSignal): Promise<void> {
    const entry = this.#find(id);
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal?.addEventListener("abort", abort);
    try {
      await Promise.race([entry.ended.promise, aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    if (signal?.aborted) throw new KilnError("CANCELLED", "nobody waits for the build any more");
    const { state, error } = entry.build;
    if (state === "done") return;
    throw new KilnError(error?.code ?? "BUILD_FAILED", error?.message ?? "the build failed", {
      ...(error?.hint === undefined ? {} : { hint: error.hint }),
      details: { ...error?.details, build: id },
    });
  }

  /** Resolves when the build has ended, by this or by itself. */
  cancel(id: string): Promise<void> {
    return this.#stop(this.#find(id), CANCELLED);
  }

  async #stop(entry: Entry, stop: Stop): Promise<void> {
    if (hasEnded(entry)) return;
    if (entry.build.state === "queued") {
      await this.#finish(entry, stop.state, stop.error);
      this.#next(); // Those behind it move up.
      return;
    }
    entry.stop ??= stop;
    entry.stopping.abort();
    await entry.ended.promise;
  }

  /** Removes what builds that were killed have left. */
  async #sweep(): Promise<void> {
    // Loaded when there is something to sweep: a daemon starts sooner without it.
    const { sweepBuilds } = await import("../build/build-session.ts");
    const { home, log } = this.#options;
    await Promise.all([sweepBuilds(home), sweepOwnedFolders(home.runs)]).catch((error) =>
      log("the next build sweeps what is left", { err: error }),
    );
  }

  /** Those that have ended, oldest first. */
  ended(): { id: string; template: string; endedMs: number }[] {
    return this.list().flatMap(({ id, template, finished_at: ended }) =>
      ended === undefined ? [] : [{ id, template, endedMs: Date.parse(ended) }],
    );
  }

  /** Removes state and events of a build that has ended. */
  async forget(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    await entry?.files.remove();
  }

  async #prune(): Promise<void> {
    const ended = this.ended();
    for (const { id } of ended.slice(0, Math.max(0, ended.length - KEPT))) await this.forget(id);
  }

  /** Ends what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => this.#stop(entry, DAEMON_ENDED)));
    await this.#sweeping;
  }
}

const hasEnded = ({ build }: Entry): boolean => build.finished_at !== undefined;

/** A build as clients are told of it. */
function tell({ build, place }: Entry): Build {
  return build.state === "queued" && place !== undefined ? { ...build, queue_position: place } : build;
}

const endEvent = ({ build }: Entry): BuildEvent => ({ type: "end", build });

/** What becomes of a build whose process ended so. One that was done before it could be stopped is done. */
function endOf(outcome: BuildOutcome, stop: Stop | undefined): [Build["state"], ErrorBody?] {
  if (outcome.result === "done") return ["done"];
  if (stop !== undefined) return [stop.state, stop.error];
  return ["failed", outcome.error];
}
