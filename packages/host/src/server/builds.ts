import { createHash, randomBytes } from "node:crypto";
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
import { runBuildProcess } from "./build-process.ts";
import type { WorkerRequest } from "./build-protocol.ts";
import type { Build } from "./schemas/template.ts";
import { type Stop, TrackedBuild } from "./tracked-build.ts";

/** Builds kept after their end. */
const KEPT = 50;

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

interface Entry {
  build: TrackedBuild;
  /** Resolves when it is on disk. */
  accepted: Promise<void>;
}

interface Waiting {
  build: TrackedBuild;
  request: BuildRequest;
}

/** The daemon's builds: at most so many at once, the others wait in the order they came. */
export class Builds implements AsyncDisposable {
  readonly #options: BuildsOptions;
  readonly #entries = new Map<string, Entry>();
  /** Those that may start, in the order they came. */
  #waiting: Waiting[] = [];
  #running = 0;
  #sweeping = Promise.resolve();

  constructor(options: BuildsOptions) {
    this.#options = options;
  }

  /** Reads what former daemons left; their builds that did not end are over, and what those left goes away. */
  async open(): Promise<void> {
    const { home, log } = this.#options;
    let cutOff = false;
    for (const id of await readdir(home.builds).catch(() => [])) {
      const files = new BuildFiles(home, id);
      const left = await files.read();
      if (!left) {
        await files.remove();
        continue;
      }
      const build = new TrackedBuild(home, left, log);
      this.#entries.set(build.id, { build, accepted: Promise.resolve() });
      if (build.hasEnded) continue;
      cutOff = true;
      await build.end(DAEMON_ENDED.state, DAEMON_ENDED.error);
    }
    if (cutOff) this.#sweeping = this.#sweep();
    await this.#prune();
  }

  /** Oldest first. */
  list(): Build[] {
    return [...this.#entries.values()]
      .map(({ build }) => build.tell())
      .sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  }

  get(id: string): Build {
    return this.#find(id).build.tell();
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
    for (const { build, accepted } of this.#entries.values()) {
      if (build.key !== key || build.hasEnded) continue;
      await accepted;
      return build.tell();
    }
    const { home, log } = this.#options;
    const id = randomBytes(6).toString("hex");
    const asked: Build = { id, template: spec.name, state: "queued", created_at: new Date().toISOString() };
    const build = new TrackedBuild(home, asked, log, key);
    // It is found by the next who asks for the same, before it is on disk.
    const accepted = this.#accept(build, request);
    this.#entries.set(id, { build, accepted });
    await accepted;
    return build.tell();
  }

  async #accept(build: TrackedBuild, request: BuildRequest): Promise<void> {
    const { home } = this.#options;
    const { spec, vcpu, memoryMib, engine, save } = request;
    try {
      // What is built already is known sooner than a process is started, and waits for no other.
      const isBuilt = (await findBootable(home, spec, { vcpu, memoryMib, engine })) !== undefined;
      if (!isBuilt) await build.writeFirst();
      else if (save) await saveTemplate(home, spec);
      if (build.hasEnded) return; // Cancelled meanwhile.
      if (isBuilt) await this.#end(build, "done");
    } catch (error) {
      await this.forget(build.id);
      throw error;
    }
    this.#waiting.push({ build, request });
    this.#next();
  }

  /** Starts what may start, and tells the others their place. */
  #next(): void {
    const { parallel } = this.#options;
    this.#waiting = this.#waiting.filter(({ build }) => !build.hasEnded);
    for (const { build, request } of this.#waiting.splice(0, Math.max(0, parallel - this.#running))) {
      this.#running += 1;
      void this.#run(build, request).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
    for (const [index, { build }] of this.#waiting.entries()) build.queue(index + 1, parallel);
  }

  /** Runs a build to its end. Never rejects. */
  async #run(build: TrackedBuild, request: BuildRequest): Promise<void> {
    await build.begin();
    const started = performance.now();
    const outcome = await runBuildProcess(this.#workerRequest(request), {
      signal: build.stopping,
      onProgress: build.reporter(),
    });
    // When a build has ended nothing of it is left; what was not told by now the next build removes.
    if (outcome.result === "lost") await this.#sweep();
    await build.endAs(outcome);
    await this.#prune();
    this.#options.onEnd(build.tell(), performance.now() - started);
  }

  #workerRequest({ spec, vcpu, memoryMib, engine, save, stepTimeoutMs }: BuildRequest): WorkerRequest {
    const { home, minFreeDiskMib } = this.#options;
    return {
      home: home.root,
      spec: writtenSpec(spec),
      save,
      stepTimeoutMs: stepTimeoutMs ?? this.#options.stepTimeoutMs,
      minFreeDiskMib,
      ...(vcpu === undefined ? {} : { vcpu }),
      ...(memoryMib === undefined ? {} : { memoryMib }),
      ...(engine === undefined ? {} : { engine }),
    };
  }

  async #end(build: TrackedBuild, ...how: Parameters<TrackedBuild["end"]>): Promise<void> {
    await build.end(...how);
    await this.#prune();
  }

  /** The events of a build from its beginning, then as they come, to its end. */
  events(id: string, signal?: AbortSignal): AsyncGenerator<string> {
    return this.#find(id).build.events(signal);
  }

  /** Resolves when the build has ended. @throws KilnError with the build's own failure. */
  wait(id: string, signal?: AbortSignal): Promise<void> {
    return this.#find(id).build.wait(signal);
  }

  /** Resolves when the build has ended, by this or by itself. */
  cancel(id: string): Promise<void> {
    return this.#stop(this.#find(id), CANCELLED);
  }

  async #stop({ build }: Entry, stop: Stop): Promise<void> {
    if (build.hasEnded) return;
    if (build.state === "queued") {
      await this.#end(build, stop.state, stop.error);
      this.#next(); // Those behind it move up.
      return;
    }
    build.stop(stop);
    await build.ended;
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
    await entry?.build.remove();
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
