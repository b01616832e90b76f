import { fork } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { createReadStream } from "node:fs";
import { appendFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { forgetOwnSources } from "../build/own-sources.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { findBootable } from "../sandbox/find-bootable.ts";
import { checksOf, writtenSpec } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { rootfsHash } from "../template/spec-hash.ts";
import { saveTemplate } from "../template/templates.ts";
import { WorkerMessage, type WorkerRequest } from "./build-protocol.ts";
import { Build, type BuildEvent } from "./schemas/template.ts";

/** Builds kept after their end. */
const KEPT = 50;
/** An update of the same stage is worth a line this often, in milliseconds. */
const MESSAGE_INTERVAL_MS = 100;

export interface BuildRequest {
  spec: TemplateSpec;
  vcpu?: number | undefined;
  memoryMib?: number | undefined;
  save: boolean;
}

interface Entry {
  build: Build;
  key: string;
  request: BuildRequest;
  events: EventEmitter<{ event: [] }>;
  /** Lines in the file of events. */
  lines: number;
  ended: PromiseWithResolvers<void>;
  cancel: (() => void) | undefined;
  writing: Promise<void>;
}

/** The daemon's builds: at most so many at once, the others wait. State and events of each are files. */
export class Builds implements AsyncDisposable {
  readonly #home: KilnHome;
  readonly #parallel: number;
  readonly #onEnd: (build: Build, ms: number) => void;
  readonly #entries = new Map<string, Entry>();
  #running = 0;

  constructor(home: KilnHome, parallel: number, onEnd: (build: Build, ms: number) => void) {
    this.#home = home;
    this.#parallel = parallel;
    this.#onEnd = onEnd;
  }

  /** Reads what former daemons left; their builds that did not end are over. */
  async open(): Promise<void> {
    for (const id of await readdir(this.#home.builds).catch(() => [])) {
      const build = await this.#readBuild(id);
      if (!build) {
        await rm(this.#folder(id), { recursive: true, force: true });
        continue;
      }
      const entry = this.#entry(build, "", { spec: {} as TemplateSpec, save: false });
      entry.ended.resolve();
      if (build.state === "queued" || build.state === "running") {
        await this.#finish(entry, "failed", {
          code: "SHUTTING_DOWN",
          message: "the daemon ended during the build",
        });
      }
    }
    await this.#prune();
  }

  async #readBuild(id: string): Promise<Build | undefined> {
    try {
      return Build.parse(JSON.parse(await readFile(join(this.#folder(id), "build.json"), "utf8")));
    } catch {
      return undefined;
    }
  }

  #folder = (id: string): string => join(this.#home.builds, id);
  #eventsFile = (id: string): string => join(this.#folder(id), "events.ndjson");

  #entry(build: Build, key: string, request: BuildRequest): Entry {
    const events = new EventEmitter<{ event: [] }>();
    events.setMaxListeners(0);
    const entry: Entry = {
      build,
      key,
      request,
      events,
      lines: 0,
      ended: Promise.withResolvers(),
      cancel: undefined,
      writing: Promise.resolve(),
    };
    this.#entries.set(build.id, entry);
    return entry;
  }

  list(): Build[] {
    return [...this.#entries.values()]
      .map(({ build }) => build)
      .sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  }

  get(id: string): Build {
    return this.#find(id).build;
  }

  #find(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw new KilnError("BUILD_NOT_FOUND", `there is no build "${id}"`, { hint: "kiln build ls lists them" });
  }

  /** Starts a build, or gives the one of the same spec that is under way. */
  async start(request: BuildRequest): Promise<Build> {
    const { spec, vcpu = spec.vcpu, memoryMib = spec.memory_mib, save } = request;
    const key = createHash("sha256")
      .update(JSON.stringify([rootfsHash(spec), checksOf(spec), vcpu, memoryMib, save ? spec.name : ""]))
      .digest("hex");
    for (const entry of this.#entries.values()) {
      if (entry.key === key && (entry.build.state === "queued" || entry.build.state === "running"))
        return entry.build;
    }
    const id = randomBytes(6).toString("hex");
    const build: Build = { id, template: spec.name, state: "queued", created_at: new Date().toISOString() };
    const entry = this.#entry(build, key, request);
    await mkdir(this.#folder(id), { recursive: true, mode: 0o700 });
    if (await findBootable(this.#home, spec, { vcpu, memoryMib })) {
      // Nothing to do: that is known sooner than a process is started.
      if (save) await saveTemplate(this.#home, spec);
      await this.#finish(entry, "done");
      return entry.build;
    }
    await this.#write(entry, {});
    this.#next();
    return entry.build;
  }

  #next(): void {
    if (this.#running >= this.#parallel) return;
    const entry = [...this.#entries.values()].find(({ build }) => build.state === "queued");
    if (!entry) return;
    this.#running += 1;
    entry.build = { ...entry.build, state: "running" };
    void this.#run(entry).finally(() => {
      this.#running -= 1;
      this.#next();
    });
    this.#next();
  }

  async #write(entry: Entry, change: Partial<Build>): Promise<void> {
    entry.build = { ...entry.build, ...change };
    await writeFileAtomic(
      join(this.#folder(entry.build.id), "build.json"),
      `${JSON.stringify(entry.build)}\n`,
    );
  }

  /** Adds an event to the file; readers are told when it is there. */
  #emit(entry: Entry, event: BuildEvent): void {
    entry.writing = entry.writing
      .then(() => appendFile(this.#eventsFile(entry.build.id), `${JSON.stringify(event)}\n`))
      .catch(() => undefined) // A full disk costs the log; the build's own result is told by its state.
      .then(() => {
        entry.lines += 1;
        entry.events.emit("event");
      });
  }

  async #run(entry: Entry): Promise<void> {
    const started = performance.now();
    const { spec, vcpu, memoryMib, save } = entry.request;
    await this.#write(entry, { state: "running" });
    const worker = fork(new URL("./build-worker.ts", import.meta.url), [], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      detached: true,
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    let complaint = "";
    worker.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(-2000);
    });
    let cancelled = false;
    entry.cancel = () => {
      cancelled = true;
      worker.kill("SIGTERM");
    };
    const outcome = Promise.withResolvers<WorkerMessage | undefined>();
    let lastMessage = 0;
    worker.on("message", (raw) => {
      const message = WorkerMessage.safeParse(raw);
      if (!message.success) return;
      if (message.data.type !== "progress") return outcome.resolve(message.data);
      const { stage, status, message: text, fraction, ms } = message.data.progress;
      if (status === "update") {
        const now = performance.now();
        if (text === undefined || now - lastMessage < MESSAGE_INTERVAL_MS) return;
        lastMessage = now;
        this.#emit(entry, {
          type: "message",
          stage,
          message: text.slice(0, 1000),
          ...(fraction === undefined ? {} : { fraction }),
        });
      } else {
        this.#emit(entry, {
          type: "stage",
          stage,
          status: status === "start" ? "started" : status,
          ...(ms === undefined ? {} : { elapsed_ms: ms }),
        });
      }
    });
    worker.once("error", () => outcome.resolve(undefined));
    worker.once("exit", () => outcome.resolve(undefined));
    const request: WorkerRequest = {
      home: this.#home.root,
      spec: writtenSpec(spec),
      save,
      ...(vcpu === undefined ? {} : { vcpu }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
    };
    worker.send(request);
    const result = await outcome.promise;
    forgetOwnSources();
    entry.cancel = undefined;
    const ms = performance.now() - started;
    if (result?.type === "done") await this.#finish(entry, "done");
    else if (cancelled)
      await this.#finish(entry, "cancelled", { code: "CANCELLED", message: "the build was cancelled" });
    else if (result?.type === "failed") await this.#finish(entry, "failed", result.error);
    else {
      const said = complaint.trim().split("\n").at(-1) ?? "";
      await this.#finish(entry, "failed", {
        code: "INTERNAL",
        message: `the build's process ended: ${said}`,
      });
    }
    this.#onEnd(entry.build, ms);
  }

  async #finish(entry: Entry, state: Build["state"], error?: Build["error"]): Promise<void> {
    await entry.writing;
    await this.#write(entry, {
      state,
      finished_at: new Date().toISOString(),
      ...(error === undefined ? {} : { error }),
    });
    this.#emit(entry, { type: "end", build: entry.build });
    await entry.writing;
    entry.ended.resolve();
    await this.#prune();
  }

  /** The events of a build from its beginning, then as they come, to its end. */
  async *events(id: string, signal?: AbortSignal): AsyncGenerator<string> {
    const entry = this.#find(id);
    let seen = 0;
    for (;;) {
      const wake = Promise.withResolvers<void>();
      entry.events.once("event", wake.resolve);
      signal?.addEventListener("abort", () => wake.resolve(), { once: true });
      try {
        let line = 0;
        const input = createReadStream(this.#eventsFile(id));
        input.on("error", () => undefined);
        for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
          line += 1;
          if (line <= seen) continue;
          seen = line;
          yield `${text}\n`;
          if (text.startsWith('{"type":"end"')) return;
        }
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
      }
      if (signal?.aborted) return;
      if (entry.build.finished_at !== undefined && entry.lines === 0) return; // Of a former daemon, cut off.
      await wake.promise;
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

  cancel(id: string): Promise<void> {
    const entry = this.#find(id);
    if (entry.build.state === "queued") {
      return this.#finish(entry, "cancelled", { code: "CANCELLED", message: "the build was cancelled" });
    }
    if (entry.build.state !== "running") return Promise.resolve();
    entry.cancel?.();
    return entry.ended.promise;
  }

  async #prune(): Promise<void> {
    const ended = this.list().filter(({ finished_at }) => finished_at !== undefined);
    for (const { id } of ended.slice(0, Math.max(0, ended.length - KEPT))) {
      this.#entries.delete(id);
      await rm(this.#folder(id), { recursive: true, force: true });
    }
  }

  /** Cancels what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    const open = [...this.#entries.values()].filter(({ build }) => build.finished_at === undefined);
    await Promise.all(open.map(({ build }) => this.cancel(build.id)));
  }
}
