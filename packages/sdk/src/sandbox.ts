import type { Duplex } from "node:stream";
import { fromWire, toWire } from "./convert.ts";
import { KilnError } from "./errors.ts";
import { Files } from "./files.ts";
import { Hold } from "./hold.ts";
import {
  connectPort,
  type ForwardOptions,
  PortForward,
  type PortRequest,
  type PortResponse,
  requestPort,
} from "./ports.ts";
import { type ExecOptions, type ExecResult, exec } from "./process/exec.ts";
import {
  type AttachOptions,
  attachTo,
  type SandboxProcess,
  type StartOptions,
  startAttached,
} from "./process/process.ts";
import type { Transport } from "./transport/transport.ts";
import type { CallOptions, ProcessInfo, PushedSandbox, SandboxInfo, Stats, Template } from "./types.ts";

export interface UpdateOptions extends CallOptions {
  /** Seconds it lives from now; null for ever. */
  timeoutS?: number | null;
  onTimeout?: "kill" | "pause";
  /** Takes the place of all metadata there was. */
  metadata?: Record<string, string>;
}

/**
 * A sandbox. Disposing of one that this client created (`client.sandbox`, `fork`) kills it; of one that was looked up it does
 * nothing.
 *
 * @example
 * await using sandbox = await client.sandbox({ image: "python" });
 * const { stdout } = await sandbox.exec(["python3", "-c", "print(6 * 7)"]);
 */
export class Sandbox implements AsyncDisposable {
  readonly id: string;
  readonly files: Files;
  readonly #transport: Transport;
  readonly #owned: boolean;
  readonly #path: string;
  readonly #hold: Hold | undefined;
  #info: SandboxInfo;

  /** @internal */
  constructor(
    transport: Transport,
    info: SandboxInfo,
    { owned, hold = false }: { owned: boolean; hold?: boolean },
  ) {
    this.id = info.id;
    this.files = new Files(transport, info.id);
    this.#transport = transport;
    this.#info = info;
    this.#owned = owned;
    this.#path = `/v1/sandboxes/${info.id}`;
    this.#hold = hold
      ? new Hold(transport, info.id, (changed) => {
          this.#info = changed;
        })
      : undefined;
  }

  /** What was last heard of it. */
  get info(): SandboxInfo {
    return this.#info;
  }

  async #call(method: string, route: string, json: unknown, { signal }: CallOptions): Promise<unknown> {
    return this.#transport.json(method, `${this.#path}${route}`, {
      ...(json === undefined ? {} : { json }),
      signal,
    });
  }

  async #change(method: string, route: string, json: unknown, options: CallOptions): Promise<SandboxInfo> {
    this.#info = fromWire<SandboxInfo>(await this.#call(method, route, json, options));
    return this.#info;
  }

  /** Asks for its present state. @throws KilnError `SANDBOX_NOT_FOUND`. */
  refresh(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#change("GET", "", undefined, options);
  }

  /**
   * Runs a program to its end; no shell is involved. It goes on over a restart of the daemon, and is killed when the call is
   * aborted. An exit code that is not 0 is a result, not an error.
   * @param argv program and arguments.
   */
  exec(argv: readonly string[], options: ExecOptions & { encoding: "bytes" }): Promise<ExecResult<Buffer>>;
  exec(argv: readonly string[], options?: ExecOptions & { encoding?: "utf8" }): Promise<ExecResult>;
  exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult<string | Buffer>> {
    const { input: _, maxOutputBytes: __, encoding: ___, signal: ____, ...rest } = options;
    return exec(this.#transport, this.id, toWire({ argv, ...rest }), options);
  }

  /** Starts a program and gives it with its output attached, once it runs. */
  start(argv: readonly string[], { signal, ...options }: StartOptions = {}): Promise<SandboxProcess> {
    return startAttached(this.#transport, this.id, toWire({ argv, ...options }), signal);
  }

  /** Starts a background process without attaching to it; `attach` does that at any time. */
  async spawn(
    argv: readonly string[],
    { signal, ...options }: Omit<StartOptions, "background"> = {},
  ): Promise<ProcessInfo> {
    const json = toWire({ argv, ...options, background: true });
    return fromWire<ProcessInfo>(await this.#call("POST", "/processes", json, { signal }));
  }

  /** Attaches to a process: what is kept of its output, or what comes after the offsets given, then what it writes. */
  attach(processId: string, options: AttachOptions = {}): Promise<SandboxProcess> {
    return attachTo(this.#transport, this.id, processId, options);
  }

  /** Processes that run, and the last that ended. */
  async processes(options: CallOptions = {}): Promise<ProcessInfo[]> {
    return fromWire<{ processes: ProcessInfo[] }>(await this.#call("GET", "/processes", undefined, options))
      .processes;
  }

  /** Memory and disk to files, the VM gone. */
  pause(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#change("POST", "/pause", {}, options);
  }

  /** Goes on from where it was paused. @param options.timeoutS seconds it lives from now; null for ever. */
  resume({ signal, timeoutS }: CallOptions & { timeoutS?: number | null } = {}): Promise<SandboxInfo> {
    return this.#change("POST", "/resume", toWire({ timeoutS }), { signal });
  }

  /**
   * Hands it over, paused, to the daemon's store: it is gone here, and any node that uses the store can go on with it
   * (`client.pullSandbox`). What fails leaves it paused.
   */
  async push({ signal }: CallOptions = {}): Promise<PushedSandbox> {
    return fromWire<PushedSandbox>(await this.#call("POST", "/push", undefined, { signal }));
  }

  /** Running copies of it as it is now; it goes on itself. @param count 1 to 100. */
  async fork(count = 1, options: CallOptions = {}): Promise<Sandbox[]> {
    const answer = fromWire<{ sandboxes: SandboxInfo[] }>(
      await this.#call("POST", "/fork", { count }, options),
    );
    return answer.sandboxes.map(
      (info) => new Sandbox(this.#transport, info, { owned: true, hold: info.held }),
    );
  }

  /** Makes a template of it as it is now: sandboxes of the template go on from here. */
  async snapshot(name: string, options: CallOptions = {}): Promise<Template> {
    return fromWire<Template>(await this.#call("POST", "/snapshot", { name }, options));
  }

  /** Changes when it ends, or its metadata. */
  update({ signal, ...options }: UpdateOptions): Promise<SandboxInfo> {
    return this.#change("PATCH", "", toWire(options), { signal });
  }

  /** Lets it live so many seconds from now; null for ever. */
  extendTimeout(timeoutS: number | null, options: CallOptions = {}): Promise<SandboxInfo> {
    return this.update({ ...options, timeoutS });
  }

  /** What it uses now. */
  async stats(options: CallOptions = {}): Promise<Stats> {
    return fromWire<Stats>(await this.#call("GET", "/stats", undefined, options));
  }

  /** HTTP to a server in the sandbox, whichever way the daemon is reached. */
  request(port: number, path: string, options: PortRequest = {}): Promise<PortResponse> {
    return requestPort(this.#transport, this.id, port, path, options);
  }

  /**
   * Address of a server in the sandbox, for other programs. Requests there need the daemon's token.
   * @throws KilnError `USAGE` when the daemon is reached by its socket: use `forward`.
   */
  url(port: number): string {
    const { endpoint } = this.#transport;
    if (endpoint.kind === "tcp") {
      return `${endpoint.url.href.replace(/\/$/, "")}/v1/sandboxes/${this.id}/ports/${port}/`;
    }
    throw new KilnError("USAGE", "a daemon on a Unix socket has no addresses", {
      hint: "sandbox.forward(port) gives the port an address of this machine",
    });
  }

  /** One TCP connection to a port of the sandbox. @throws KilnError `PORT_UNREACHABLE`. */
  connect(port: number, options: CallOptions = {}): Promise<Duplex> {
    return connectPort(this.#transport, this.id, port, options);
  }

  /**
   * Makes a port of the sandbox one of this machine, until it is disposed of.
   *
   * @example
   * await using forward = await sandbox.forward(8000);
   * await fetch(`http://127.0.0.1:${forward.port}/`);
   */
  forward(port: number, options: ForwardOptions = {}): Promise<PortForward> {
    return PortForward.open(() => this.connect(port), options);
  }

  /** Kills it. One that is gone already is no error. */
  async kill(options: CallOptions = {}): Promise<void> {
    try {
      await this.#call("DELETE", "", undefined, options);
    } catch (error) {
      if (!(error instanceof KilnError) || error.code !== "SANDBOX_NOT_FOUND") throw error;
    } finally {
      this.#hold?.release();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#owned) await this.kill();
  }
}
