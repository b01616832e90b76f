import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lockFile } from "../os/file-lock.ts";
import { ControlClient } from "../os/server/control-client.ts";
import { spawnServer } from "../os/server/server-process.ts";
import {
  CONTROL_SOCKET,
  Completed,
  FETCHER,
  type FetchBody,
  FetchStatus,
  fetcherDirectory,
  Presented,
} from "./fetch-protocol.ts";

/** How long a fetcher may take to end, in milliseconds: it keeps traces in the store first. */
const STOP_PATIENCE_MS = 15_000;

/** By its path alone: what is below this folder does not know what is above. */
const MAIN = fileURLToPath(new URL("../store/fetcher/main.ts", import.meta.url));

/** The fetcher of one KILN_HOME, started when it is not there. */
export class FetchClient implements Disposable {
  readonly #home: string;
  #client: Promise<ControlClient<FetchBody>> | undefined;
  #disposed = false;

  /** @param home KILN_HOME. */
  constructor(home: string) {
    this.#home = home;
  }

  /** Resolves when the parts are there. @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`. */
  async fetch(path: string, first: number, end: number): Promise<void> {
    await this.#ask({ op: "fetch", path, first, end });
  }

  /** Resolves when all of the file is there. @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`. */
  async complete(path: string): Promise<void> {
    while (!Completed.parse(await this.#ask({ op: "complete", path })).whole);
  }

  /** A path that can be mapped and reads as the file does, or undefined where that is not possible. */
  async present(path: string): Promise<string | undefined> {
    return Presented.parse(await this.#ask({ op: "present", path })).path ?? undefined;
  }

  async begin(paths: readonly string[]): Promise<void> {
    await this.#ask({ op: "begin", paths: [...paths] });
  }

  async status(): Promise<FetchStatus> {
    return FetchStatus.parse(await this.#ask({ op: "status" }));
  }

  /** What the fetcher of `home` does, or undefined where none runs: none is started. */
  static async statusIfRunning(home: string): Promise<FetchStatus | undefined> {
    using client = new FetchClient(home);
    try {
      client.#client = client.#connect();
      await client.#client;
      return await client.status();
    } catch {
      return undefined;
    }
  }

  /** Ends the fetcher, if one is there. */
  async stop(): Promise<void> {
    const client = await this.#connect().catch(() => undefined);
    await client?.request({ op: "stop" }).catch(() => undefined);
    // The connection alone keeps no process alive.
    const patience = setTimeout(() => client?.[Symbol.dispose](), STOP_PATIENCE_MS);
    await client?.closed;
    clearTimeout(patience);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#client?.then((client) => client[Symbol.dispose]()).catch(() => undefined);
  }

  async #ask(body: FetchBody): Promise<unknown> {
    const client = await this.#running();
    try {
      return await client.request(body);
    } catch (error) {
      if (client.isOpen || this.#disposed) throw error;
      return (await this.#running()).request(body); // It died: another one is asked, once.
    }
  }

  async #running(): Promise<ControlClient<FetchBody>> {
    const present = await this.#client?.catch(() => undefined);
    if (present?.isOpen) return present;
    this.#client = this.#connectOrStart();
    this.#client.catch(() => undefined);
    return this.#client;
  }

  async #connect(): Promise<ControlClient<FetchBody>> {
    const socket = join(fetcherDirectory(this.#home), CONTROL_SOCKET);
    const { client } = await ControlClient.connect<FetchBody>(FETCHER, socket);
    client.unref();
    return client;
  }

  async #connectOrStart(): Promise<ControlClient<FetchBody>> {
    const client = await this.#connect().catch(() => undefined);
    if (client) return client;
    await using _lock = await lockFile(join(this.#home, "locks", "fetcher-start.lock"));
    const other = await this.#connect().catch(() => undefined);
    if (other) return other;
    const directory = fetcherDirectory(this.#home);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await spawnServer(FETCHER, MAIN, directory, true, undefined);
    return this.#connect();
  }
}
