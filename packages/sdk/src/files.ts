import type { Readable } from "node:stream";
import { fromWire, toWire } from "./convert.ts";
import { KilnError } from "./errors.ts";
import { decodeLines } from "./transport/lines.ts";
import { type Body, readAll, type Transport } from "./transport/transport.ts";
import type { CallOptions, FileInfo, WatchEvent } from "./types.ts";

/** Largest file that is read in one piece. */
const MAX_READ_BYTES = 256 * 1024 * 1024;

export interface ReadOptions extends CallOptions {
  /** Where to begin, in bytes. @default 0 */
  offset?: number;
  /** How many bytes. @default to the end */
  length?: number;
}

export interface WriteOptions extends CallOptions {
  /** Permission bits, octal. @default "644" */
  mode?: string;
  /** Whether to make missing directories. @default false */
  parents?: boolean;
  /** name, name:group, uid or uid:gid. @default root */
  user?: string;
}

/** Whatever has bytes: text, bytes, or a stream of them such as `fs.createReadStream(…)`. */
export type Content = string | Body;

const toBody = (content: Content): Body => (typeof content === "string" ? Buffer.from(content) : content);

/** Files of a sandbox. A path without a leading slash begins at the template's working directory. */
export class Files {
  readonly #transport: Transport;
  readonly #path: string;

  constructor(transport: Transport, sandboxId: string) {
    this.#transport = transport;
    this.#path = `/v1/sandboxes/${sandboxId}/files`;
  }

  /** A file's bytes. @throws KilnError `FILE_NOT_FOUND`; `TOO_LARGE` over 256 MiB: use `readStream`. */
  async read(path: string, options: ReadOptions = {}): Promise<Buffer> {
    const stream = await this.readStream(path, options);
    return readAll(stream, MAX_READ_BYTES).catch((cause) => {
      options.signal?.throwIfAborted();
      if (cause instanceof KilnError) throw cause;
      throw new KilnError("CONNECTION_LOST", `the connection was lost while ${path} was read`, { cause });
    });
  }

  /** A file as text in UTF-8. */
  async readText(path: string, options: ReadOptions = {}): Promise<string> {
    return (await this.read(path, options)).toString("utf8");
  }

  /** A file's bytes as they come, with flat memory. Resolves when the file is open; read it, or destroy it. */
  async readStream(path: string, { signal, offset, length }: ReadOptions = {}): Promise<Readable> {
    return this.#transport.send("GET", this.#path, { query: { path, offset, length }, signal });
  }

  /**
   * Writes a file, which takes the old one's place when all of it has arrived.
   *
   * @example
   * await sandbox.files.write("data/big.bin", createReadStream("big.bin"), { parents: true });
   */
  async write(path: string, content: Content, { signal, ...query }: WriteOptions = {}): Promise<FileInfo> {
    const options = { query: { path, ...query }, body: toBody(content), signal };
    return fromWire<FileInfo>(await this.#transport.json("PUT", this.#path, options));
  }

  /** What is known of a file; of a symbolic link itself with `follow: false`. @throws KilnError `FILE_NOT_FOUND`. */
  async stat(path: string, { signal, follow }: CallOptions & { follow?: boolean } = {}): Promise<FileInfo> {
    return fromWire<FileInfo>(
      await this.#transport.json("GET", `${this.#path}/stat`, { query: { path, follow }, signal }),
    );
  }

  /** Whether there is a file of this name. */
  async exists(path: string, options: CallOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, { ...options, follow: false });
      return true;
    } catch (error) {
      if (error instanceof KilnError && error.code === "FILE_NOT_FOUND") return false;
      throw error;
    }
  }

  /** What is in a directory, by name. */
  async list(path: string, { signal }: CallOptions = {}): Promise<FileInfo[]> {
    const answer = await this.#transport.json("GET", `${this.#path}/list`, { query: { path }, signal });
    return fromWire<{ entries: FileInfo[] }>(answer).entries;
  }

  async mkdir(path: string, { signal, ...options }: WriteOptions = {}): Promise<void> {
    await this.#transport.json("POST", `${this.#path}/mkdir`, { json: { path, ...toWire(options) }, signal });
  }

  async rename(from: string, to: string, { signal }: CallOptions = {}): Promise<void> {
    await this.#transport.json("POST", `${this.#path}/rename`, { json: { from, to }, signal });
  }

  /** Removes a file, or with `recursive` a directory with all it holds. */
  async remove(
    path: string,
    { signal, recursive }: CallOptions & { recursive?: boolean } = {},
  ): Promise<void> {
    await this.#transport.json("DELETE", this.#path, { query: { path, recursive }, signal });
  }

  /**
   * Tells of changes in a directory, or of a file. Nothing that happens after this has resolved is missed; where too much
   * happened at once, an event `overflow` says so. Ends with the iteration or the signal.
   */
  async watch(
    path: string,
    { signal, recursive }: CallOptions & { recursive?: boolean } = {},
  ): Promise<AsyncGenerator<WatchEvent, void>> {
    const response = await this.#transport.send("GET", `${this.#path}/watch`, {
      query: { path, recursive },
      signal,
    });
    const lines = decodeLines(response);
    const first = await lines.next();
    if (first.done || (first.value as { type?: unknown }).type !== "ready") {
      response.destroy();
      throw new KilnError("INTERNAL", "the daemon did not say that it watches");
    }
    return watchEvents(lines, signal);
  }

  /** A directory with all it holds, as a tar stream. */
  async tar(path: string, { signal }: CallOptions = {}): Promise<Readable> {
    return this.#transport.send("GET", `${this.#path}/tar`, { query: { path }, signal });
  }

  /** Unpacks a tar stream into a directory, which is made when it is missing. */
  async untar(path: string, archive: Body, { signal }: CallOptions = {}): Promise<void> {
    await this.#transport.json("PUT", `${this.#path}/tar`, { query: { path }, body: archive, signal });
  }
}

async function* watchEvents(
  lines: AsyncGenerator<unknown, void>,
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchEvent, void> {
  try {
    for await (const line of lines) yield fromWire<WatchEvent>(line);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new KilnError("CONNECTION_LOST", "changes may have been missed: the connection was lost", {
      cause,
    });
  }
}
