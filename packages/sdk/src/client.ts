import { type BuildOptions, Builds, type TemplateSpec } from "./builds.ts";
import { fromWire, toWire } from "./convert.ts";
import { Disk } from "./disk.ts";
import { fromErrorBody, KilnError } from "./errors.ts";
import { Sandbox } from "./sandbox.ts";
import { Templates } from "./templates.ts";
import { type EndpointOptions, resolveEndpoint } from "./transport/endpoint.ts";
import { decodeLines } from "./transport/lines.ts";
import { readAll, Transport } from "./transport/transport.ts";
import type {
  Build,
  BuildEvent,
  CallOptions,
  EngineChoice,
  Info,
  Network,
  SandboxInfo,
  SandboxState,
} from "./types.ts";

const MAX_TEXT_BYTES = 64 * 1024 * 1024;

export interface ClientOptions extends EndpointOptions {
  /** Whether to start the local daemon when it does not run. @default true */
  autostart?: boolean;
  /** The `kiln` to start it with, and its first arguments. @default $KILN_BIN, else kiln on the PATH */
  command?: readonly string[];
}

export interface SandboxOptions extends CallOptions {
  /** Name of a template. One that is not built yet is built first. */
  image: string;
  vcpu?: number;
  memoryMib?: number;
  /** What runs it. @default auto */
  engine?: EngineChoice;
  /** Variables of every program that is started in it. */
  env?: Record<string, string>;
  metadata?: Record<string, string>;
  /** Seconds it lives; null for ever. @default null */
  timeoutS?: number | null;
  /** @default "kill" */
  onTimeout?: "kill" | "pause";
  /** @default "full" */
  network?: Network;
  /** Room on the host that what it writes may take, in MiB. @default the daemon's limit, which is the most */
  maxDiskMib?: number;
  /** Processes and threads it may have at once. @default the daemon's limit, which is the most */
  maxProcesses?: number;
  /** Ends it with this process, however that ends. @default false */
  held?: boolean;
  /** Told of the build, where the template has to be built first. */
  onProgress?: (event: BuildEvent) => void;
}

export interface ListOptions extends CallOptions {
  state?: SandboxState | readonly SandboxState[];
  image?: string;
  /** Only those with all of these entries. */
  metadata?: Record<string, string>;
  /** Sandboxes asked for at once, 1 to 1000. @default 100 */
  pageSize?: number;
}

/**
 * A daemon's client. Without options it is this machine's own daemon, which is started when it does not run, or the one that
 * `KILN_URL` and `KILN_TOKEN` name.
 *
 * @example
 * const client = new KilnClient();
 * await using sandbox = await client.sandbox({ image: "claude-code", memoryMib: 2048 });
 * const { stdout } = await sandbox.exec(["python3", "-c", "print(1)"]);
 */
export class KilnClient implements Disposable {
  readonly templates: Templates;
  readonly builds: Builds;
  readonly disk: Disk;
  readonly #transport: Transport;

  constructor({ autostart = true, command, ...endpoint }: ClientOptions = {}) {
    this.#transport = new Transport(resolveEndpoint(endpoint), { autostart, command });
    this.templates = new Templates(this.#transport);
    this.builds = new Builds(this.#transport);
    this.disk = new Disk(this.#transport);
  }

  /**
   * Creates a sandbox. An aborted call leaves none.
   * @throws KilnError `TEMPLATE_NOT_FOUND`, `BUILD_FAILED`, `LIMIT_REACHED`, `CAPACITY` and others.
   */
  async sandbox(options: SandboxOptions): Promise<Sandbox> {
    const { image, signal, onProgress, ...rest } = options;
    const json = toWire({ template: image, ...rest });
    const info = await (onProgress
      ? this.#createWithProgress(json, onProgress, signal)
      : this.#transport.json("POST", "/v1/sandboxes", { json, signal }).then(fromWire<SandboxInfo>));
    return new Sandbox(this.#transport, info, { owned: true, hold: info.held });
  }

  async #createWithProgress(
    json: unknown,
    onProgress: (event: BuildEvent) => void,
    signal: AbortSignal | undefined,
  ): Promise<SandboxInfo> {
    const headers = { Accept: "application/x-ndjson" };
    const request = "POST /v1/sandboxes";
    const response = await this.#transport.send("POST", "/v1/sandboxes", { json, headers, signal });
    let cause: unknown;
    try {
      for await (const line of decodeLines(response)) {
        const event = line as { type?: unknown; sandbox?: unknown; error?: unknown };
        if (event.type === "sandbox") return fromWire<SandboxInfo>(event.sandbox);
        if (event.type === "error") throw fromErrorBody(event.error, { request });
        onProgress(fromWire<BuildEvent>(line));
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof KilnError) throw error;
      cause = error;
    }
    throw new KilnError("CONNECTION_LOST", "the connection was lost before the sandbox was there", {
      request,
      cause,
    });
  }

  /** A sandbox by its id, or a beginning that means one. @throws KilnError `SANDBOX_NOT_FOUND`, `CONFLICT` for several. */
  async get(id: string, { signal }: CallOptions = {}): Promise<Sandbox> {
    const info = fromWire<SandboxInfo>(
      await this.#transport.json("GET", `/v1/sandboxes/${encodeURIComponent(id)}`, { signal }),
    );
    return new Sandbox(this.#transport, info, { owned: false });
  }

  /**
   * Takes a sandbox that some node has handed over (`Sandbox.push`) out of the store. It is paused, and this daemon's alone.
   * @param id the whole of it.
   * @throws KilnError `SANDBOX_NOT_FOUND`; `CONFLICT` when another node was first.
   */
  async pullSandbox(id: string, { signal }: CallOptions = {}): Promise<Sandbox> {
    const info = fromWire<SandboxInfo>(
      await this.#transport.json("POST", `/v1/sandboxes/${encodeURIComponent(id)}/pull`, { signal }),
    );
    return new Sandbox(this.#transport, info, { owned: false });
  }

  /**
   * Sandboxes, oldest first.
   *
   * @example
   * for await (const sandbox of client.list({ state: "running", metadata: { job: "42" } })) await sandbox.kill();
   */
  async *list({
    state,
    image,
    metadata = {},
    pageSize,
    signal,
  }: ListOptions = {}): AsyncGenerator<Sandbox, void> {
    const filters = Object.fromEntries(
      Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value]),
    );
    let cursor: string | undefined;
    do {
      const query = { ...filters, state: state?.toString(), template: image, limit: pageSize, cursor };
      const answer = await this.#transport.json("GET", "/v1/sandboxes", { query, signal });
      const page = fromWire<{ sandboxes: SandboxInfo[]; nextCursor?: string }>(answer);
      for (const info of page.sandboxes) yield new Sandbox(this.#transport, info, { owned: false });
      cursor = page.nextCursor;
    } while (cursor !== undefined);
  }

  /**
   * Builds a template, and resolves when it is done. When the call is aborted the build goes on: `builds.cancel` ends it.
   * @param template name of a template, or a spec, which is then known by its name.
   */
  async build(
    template: string | TemplateSpec,
    options: BuildOptions & { onProgress?: (event: BuildEvent) => void } = {},
  ): Promise<Build> {
    const { id } = await this.builds.start(template, options);
    return this.builds.wait(id, options);
  }

  /** Version, engine, limits, and how much of them is used. */
  async info({ signal }: CallOptions = {}): Promise<Info> {
    return fromWire<Info>(await this.#transport.json("GET", "/v1/info", { signal }));
  }

  /** Whether the daemon is well; starts it where that is needed. */
  async health({
    signal,
  }: CallOptions = {}): Promise<{ status: "ok"; version: string; pid: number; uptimeS: number }> {
    return fromWire(await this.#transport.json("GET", "/healthz", { signal }));
  }

  /** Metrics in Prometheus' text format. */
  async metrics({ signal }: CallOptions = {}): Promise<string> {
    const response = await this.#transport.send("GET", "/metrics", { signal });
    return (await readAll(response, MAX_TEXT_BYTES)).toString("utf8");
  }

  /** The daemon's API as OpenAPI 3.1. */
  openapi({ signal }: CallOptions = {}): Promise<unknown> {
    return this.#transport.json("GET", "/openapi.json", { signal });
  }

  /** Closes connections that are kept for another request. Sandboxes stay. */
  close(): void {
    this.#transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
