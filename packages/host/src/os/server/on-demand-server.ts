import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { lockFile } from "../file-lock.ts";
import { ControlClient } from "./control-client.ts";
import type { ServerKind } from "./server-kind.ts";
import { spawnServer, whileTaken } from "./server-process.ts";

/** How many servers are asked one after the other, when each dies before it has answered. */
const ATTEMPTS = 5;
/** How long one that was told to stop may take to end, in milliseconds. */
const STOP_PATIENCE_MS = 15_000;

export interface OnDemandOptions {
  kind: ServerKind;
  /** Its program: `node MAIN DIRECTORY`. */
  main: string;
  directory: string;
  /** Name of its control socket, in `directory`. */
  socket: string;
  /** Lock file under which it is started. */
  lock: string;
}

/**
 * A server that everybody who needs it starts when it is not there, of which there is one in a folder, and which ends by itself. Whoever asks
 * it for something that can be asked twice does not notice that one was killed.
 */
export class OnDemandServer<Body extends { op: string }> implements Disposable {
  readonly #options: OnDemandOptions;
  #client: Promise<ControlClient<Body>> | undefined;
  #disposed = false;

  constructor(options: OnDemandOptions) {
    this.#options = options;
  }

  /** @throws KilnError what it answers, or of the kind's code. */
  async ask(body: Body): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connected(() => this.#connectOrStart());
      try {
        return await client.request(body);
      } catch (error) {
        if (client.isOpen || this.#disposed || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Asks one that runs: none is started. @throws KilnError when there is none. */
  async askIfRunning(body: Body): Promise<unknown> {
    return (await this.#connected(() => this.#connect())).request(body);
  }

  /** Ends it, if it is there, by the request `body`. */
  async stop(body: Body): Promise<void> {
    const client = await this.#connect().catch(() => undefined);
    await client?.request(body).catch(() => undefined);
    // The connection alone keeps no process alive.
    const patience = setTimeout(() => client?.[Symbol.dispose](), STOP_PATIENCE_MS);
    await client?.closed;
    clearTimeout(patience);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#client?.then((client) => client[Symbol.dispose]()).catch(() => undefined);
  }

  async #connected(connect: () => Promise<ControlClient<Body>>): Promise<ControlClient<Body>> {
    const present = await this.#client?.catch(() => undefined);
    if (present?.isOpen) return present;
    this.#client = connect();
    this.#client.catch(() => undefined);
    return this.#client;
  }

  async #connect(): Promise<ControlClient<Body>> {
    const { kind, directory, socket } = this.#options;
    const { client } = await ControlClient.connect<Body>(kind, join(directory, socket));
    client.unref();
    return client;
  }

  async #connectOrStart(): Promise<ControlClient<Body>> {
    const client = await this.#connect().catch(() => undefined);
    if (client) return client;
    const { kind, main, directory, lock } = this.#options;
    await using _lock = await lockFile(lock);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return whileTaken(async () => {
      const other = await this.#connect().catch(() => undefined);
      if (other) return other;
      await spawnServer(kind, main, directory, true, undefined);
      return this.#connect();
    });
  }
}
