import type { Readable } from "node:stream";
import { fromWire } from "../convert.ts";
import { KilnError } from "../errors.ts";
import { type FrameReader, readFrames } from "../transport/frames.ts";
import type { Transport } from "../transport/transport.ts";
import type { CallOptions, ProcessInfo } from "../types.ts";
import { OutputBuffer } from "./output-buffer.ts";
import { type OutputEvent, readOutput, STREAM_OPTIONS } from "./output-stream.ts";

export interface Terminal {
  rows: number;
  columns: number;
}

export interface StartOptions extends CallOptions {
  env?: Record<string, string>;
  /** Working directory. @default the template's */
  cwd?: string;
  /** name, name:group, uid or uid:gid. @default the template's */
  user?: string;
  /** Whether it gets a standard input to write to. @default false */
  stdin?: boolean;
  terminal?: Terminal;
  /** Kills it after so many milliseconds. @default never */
  timeoutMs?: number;
  /** Whether it goes on when this client goes away, and never waits for a reader. @default false */
  background?: boolean;
  /** Output kept in the guest, of each. @default 1 MiB */
  bufferBytes?: number;
}

export interface AttachOptions extends CallOptions {
  /** Bytes of output that are known already. @default 0 */
  stdout?: number;
  stderr?: number;
  /** Whether to go on until the process ends. @default true */
  follow?: boolean;
}

/** How a process ended. */
export interface ExitStatus {
  /** 128 + n for a program ended by signal n. */
  exitCode: number;
  signal: string | undefined;
  timedOut: boolean;
}

/**
 * A process in a sandbox, and its output as it comes. A connection that is cut, be it that the daemon is restarted, is made again
 * by itself, from where the output was. Disposing of it kills it, unless it is a background process.
 *
 * @example
 * await using server = await sandbox.start(["python3", "-u", "-m", "http.server"]);
 * for await (const line of server.stderr) process.stderr.write(line);
 */
export class SandboxProcess implements AsyncDisposable {
  readonly id: string;
  readonly #transport: Transport;
  readonly #path: string;
  #info: ProcessInfo;
  readonly #buffers: Record<"output" | "stdout" | "stderr", OutputBuffer>;
  readonly #dropped = { stdout: 0, stderr: 0 };
  readonly #ended: Promise<ProcessInfo>;
  readonly #letGo: AbortController;
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(
    transport: Transport,
    sandboxId: string,
    info: ProcessInfo,
    ended: Promise<ProcessInfo>,
    letGo: AbortController,
  ) {
    this.id = info.id;
    this.#transport = transport;
    this.#path = `/v1/sandboxes/${sandboxId}/processes/${info.id}`;
    this.#info = info;
    this.#letGo = letGo;
    this.#buffers = {
      output: new OutputBuffer(() => true),
      stdout: new OutputBuffer(({ type }) => type === "stdout"),
      stderr: new OutputBuffer(({ type }) => type === "stderr"),
    };
    this.#ended = this.#finish(ended);
    this.#ended.catch(() => undefined); // Whoever waits is told.
  }

  /** @internal Starts a program, or attaches to a process, and resolves when it is there. */
  static async open(
    transport: Transport,
    sandboxId: string,
    request: (signal: AbortSignal) => Promise<Readable>,
    { stdout = 0, stderr = 0, follow = true, signal, kills = false }: AttachOptions & { kills?: boolean },
  ): Promise<SandboxProcess> {
    const letGo = new AbortController();
    const all = signal === undefined ? letGo.signal : AbortSignal.any([signal, letGo.signal]);
    const process = await new Promise<SandboxProcess>((resolve, reject) => {
      let process: SandboxProcess | undefined;
      const open = async (take: FrameReader) => readFrames(await request(all), take);
      const ended = readOutput(
        { transport, sandboxId, open, offsets: { stdout, stderr }, follow, signal: all },
        {
          started(info) {
            process = new SandboxProcess(transport, sandboxId, info, ended, letGo);
            resolve(process);
          },
          output: (event) => (process === undefined ? undefined : process.#take(event)),
        },
      );
      ended.catch(reject);
    });
    if (kills) {
      // The daemon kills it as well when the first connection goes away; after a cut there is another one.
      signal?.addEventListener("abort", () => void process.kill().catch(() => undefined), { once: true });
    }
    return process;
  }

  /** What was last heard of it. */
  get info(): ProcessInfo {
    return this.#info;
  }

  /** Bytes of output that were no longer there when they were asked for. */
  get dropped(): Readonly<Record<"stdout" | "stderr", number>> {
    return this.#dropped;
  }

  /** Both outputs in the order they came. Of what came before anybody iterated, the last 1 MiB. */
  get output(): AsyncIterable<OutputEvent> {
    return this.#buffers.output.read();
  }

  /** Standard output; of a terminal, all output. Of what came before anybody iterated, the last 1 MiB. */
  get stdout(): AsyncIterable<Buffer> {
    return onlyData(this.#buffers.stdout.read());
  }

  get stderr(): AsyncIterable<Buffer> {
    return onlyData(this.#buffers.stderr.read());
  }

  /** Gives output to who reads it; resolves when there is room for more. */
  #take(event: OutputEvent): Promise<void> | undefined {
    if (event.type === "dropped") this.#dropped[event.channel] += event.bytes;
    const full = Object.values(this.#buffers)
      .map((buffer) => buffer.push(event))
      .filter((room) => room !== undefined);
    return full.length === 0 ? undefined : Promise.all(full).then(() => undefined);
  }

  async #finish(ended: Promise<ProcessInfo>): Promise<ProcessInfo> {
    const buffers = Object.values(this.#buffers);
    try {
      this.#info = await ended;
      for (const buffer of buffers) buffer.end();
      return this.#info;
    } catch (error) {
      for (const buffer of buffers) buffer.end(error);
      throw error;
    }
  }

  /** Resolves when it has ended and its output is through. @throws KilnError when that cannot be found out. */
  async wait(): Promise<ExitStatus> {
    const { state, exitCode, signal, timedOut } = await this.#ended;
    if (state === "running") {
      throw new KilnError("USAGE", "it was attached to without following it, and it still runs", {
        hint: "follow: true",
      });
    }
    return { exitCode: exitCode ?? 0, signal, timedOut: timedOut ?? false };
  }

  /** Writes to its standard input; resolves when the guest has it. Writes keep their order. */
  write(data: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    return this.#stdin(data, false, options);
  }

  /** Closes its standard input, after `data`. */
  end(data: string | Uint8Array = "", options: CallOptions = {}): Promise<void> {
    return this.#stdin(data, true, options);
  }

  #stdin(data: string | Uint8Array, end: boolean, { signal }: CallOptions): Promise<void> {
    const body = typeof data === "string" ? Buffer.from(data) : data;
    const written = this.#writing.then(() =>
      this.#transport.json("POST", `${this.#path}/stdin`, { body, query: end ? { end } : {}, signal }),
    );
    this.#writing = written.catch(() => undefined);
    return written.then(() => undefined);
  }

  /** Sends a signal, such as `SIGTERM`, to it and all it started. */
  async signal(name: string, { signal }: CallOptions = {}): Promise<void> {
    await this.#transport.json("POST", `${this.#path}/signal`, { json: { signal: name }, signal });
  }

  async resize({ rows, columns }: Terminal, { signal }: CallOptions = {}): Promise<void> {
    await this.#transport.json("POST", `${this.#path}/resize`, { json: { rows, columns }, signal });
  }

  /** Asks for its present state. */
  async refresh({ signal }: CallOptions = {}): Promise<ProcessInfo> {
    this.#info = fromWire<ProcessInfo>(await this.#transport.json("GET", this.#path, { signal }));
    return this.#info;
  }

  /** Kills it with all it started, and forgets its output. */
  async kill({ signal }: CallOptions = {}): Promise<void> {
    try {
      await this.#transport.json("DELETE", this.#path, { signal });
    } catch (error) {
      if (!isGone(error)) throw error;
    } finally {
      this.#letGo.abort(); // Its stream would tell that it is not there any more.
    }
  }

  /** Leaves it alone: a background process, or one that was attached to, goes on. Any other is killed by the daemon. */
  detach(): void {
    this.#letGo.abort();
  }

  /** Kills it, unless it has ended or is a background process. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#info.state === "exited" || this.#info.background) this.detach();
    else await this.kill();
  }
}

const isGone = (error: unknown): boolean =>
  error instanceof KilnError &&
  ["PROCESS_NOT_FOUND", "SANDBOX_NOT_FOUND", "SANDBOX_STATE"].includes(error.code);

async function* onlyData(events: AsyncGenerator<OutputEvent, void>): AsyncGenerator<Buffer, void> {
  for await (const event of events) if (event.type !== "dropped") yield event.data;
}

/** @internal Starts a program with its output attached. */
export function startAttached(
  transport: Transport,
  sandboxId: string,
  body: Record<string, unknown>,
  signal: AbortSignal | undefined,
): Promise<SandboxProcess> {
  const path = `/v1/sandboxes/${sandboxId}/processes`;
  const open = (all: AbortSignal) =>
    transport.send("POST", path, { ...STREAM_OPTIONS, query: { attach: true }, json: body, signal: all });
  const kills = body.background !== true;
  return SandboxProcess.open(transport, sandboxId, open, { signal, kills });
}

/** @internal Attaches to a process that runs, or has ended and is not forgotten. */
export function attachTo(
  transport: Transport,
  sandboxId: string,
  processId: string,
  options: AttachOptions,
): Promise<SandboxProcess> {
  const { stdout = 0, stderr = 0, follow = true } = options;
  const path = `/v1/sandboxes/${sandboxId}/processes/${processId}/output`;
  const open = (all: AbortSignal) =>
    transport.send("GET", path, { ...STREAM_OPTIONS, query: { stdout, stderr, follow }, signal: all });
  return SandboxProcess.open(transport, sandboxId, open, options);
}
