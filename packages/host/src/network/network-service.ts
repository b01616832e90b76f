import { rm } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import { whileTaken } from "../os/server/server-process.ts";
import { CONTROL_SOCKET, NetworkOptions, type NetworkStats } from "./control-protocol.ts";
import { NetworkServer } from "./network-server.ts";

/** A server that dies so often within `RESTART_SPAN_MS` has a reason that another start does not mend. */
const MAX_RESTARTS = 5;
const RESTART_SPAN_MS = 60_000;

export interface NetworkServiceOptions {
  /** Lets the server outlive this process, for `attach` to take it up again. @default false */
  detached?: boolean;
}

/**
 * The networks of sandboxes, whose server is started with the first and replaced when it dies. A guest then loses the connections it has,
 * and can make new ones.
 *
 * @example
 * await using networks = new NetworkService(join(home.root, "net"));
 * await networks.add({ id: "a", socketPath: vm.networkSocket, policy: { allow: ["example.com"] } });
 */
export class NetworkService implements AsyncDisposable {
  readonly #directory: string;
  readonly #detached: boolean;
  readonly #entries = new Map<string, NetworkOptions>();
  #server: Promise<NetworkServer> | undefined;
  #restarts: number[] = [];
  #closed = false;

  /** @param directory folder for the server's socket and log, which one service at a time may have; short. */
  constructor(directory: string, { detached = false }: NetworkServiceOptions = {}) {
    this.#directory = directory;
    this.#detached = detached;
  }

  /** Starts the server ahead of the first network. A failure shows in whoever needs one. */
  warm(): void {
    this.#running().catch(() => undefined);
  }

  /** Process id of the server that runs now, to measure it by. */
  async pid(): Promise<number> {
    return (await this.#running()).pid;
  }

  /**
   * Serves a sandbox's link. Its VM may come later, go, and come again: a link that is down is tried again until it is removed. A policy
   * of "none" needs no server, but a guest that has one is told at once that it may not, where it would wait otherwise.
   *
   * @throws KilnError `USAGE` for bad options, `LIMIT_REACHED`, `NETWORK_FAILED` when the server does not start.
   */
  async add(options: NetworkOptions): Promise<void> {
    const server = await this.#running();
    await server.add(options);
    // As the server tells of it: one that is found again is compared.
    this.#entries.set(options.id, NetworkOptions.parse(options));
  }

  /** Ends a sandbox's network, and all its connections. Removing what is not there is fine. */
  async remove(id: string): Promise<void> {
    if (!this.#entries.delete(id)) return;
    const server = await this.#server?.catch(() => undefined);
    await server?.remove(id).catch((error) => {
      // A server that is gone has no networks.
      if (!(error instanceof KilnError && error.code === "NETWORK_FAILED")) throw error;
    });
  }

  /** @throws KilnError `NETWORK_FAILED` when there is no such network. */
  async stats(id: string): Promise<NetworkStats> {
    if (!this.#entries.has(id)) throw new KilnError("NETWORK_FAILED", `sandbox "${id}" has no network`);
    return (await this.#running()).stats(id);
  }

  /**
   * Takes up the server that a former process left running, with the networks of `kept`: connections go on. Others it has are
   * removed. Without such a server one is started.
   */
  async attach(kept: readonly NetworkOptions[]): Promise<void> {
    for (const options of kept) this.#entries.set(options.id, NetworkOptions.parse(options));
    if (kept.length === 0) this.warm();
    else await this.#running();
  }

  /** Lets go of a detached server that has networks: it serves them on. Any other is ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const server = await this.#server?.catch(() => undefined);
    if (this.#detached && this.#entries.size > 0) server?.release();
    else {
      await server?.stop();
      // Of one that was killed and that nobody has needed since.
      await rm(join(this.#directory, CONTROL_SOCKET), { force: true });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #running(): Promise<NetworkServer> {
    if (this.#server === undefined) {
      const starting = this.#start();
      this.#server = starting;
      starting.catch(() => {
        if (this.#server === starting) this.#server = undefined;
      });
    }
    return this.#server;
  }

  async #start(): Promise<NetworkServer> {
    const { server, has } = await whileTaken(() => this.#findOrStart());
    this.#watch(server);
    for (const options of this.#entries.values()) {
      const there = has.get(options.id);
      has.delete(options.id);
      if (JSON.stringify(there) === JSON.stringify(options)) continue;
      if (there) await server.remove(there.id);
      await server.add(options);
    }
    for (const id of has.keys()) await server.remove(id);
    return server;
  }

  /** A detached server may be there already, a former process's. */
  async #findOrStart(): Promise<{ server: NetworkServer; has: Map<string, NetworkOptions> }> {
    if (this.#detached) {
      const server = await NetworkServer.attach(this.#directory).catch(() => undefined);
      if (server) return { server, has: new Map((await server.list()).map((one) => [one.id, one])) };
    }
    const server = await NetworkServer.start({ directory: this.#directory, detached: this.#detached });
    return { server, has: new Map() };
  }

  #watch(server: NetworkServer): void {
    void server.exited.then(() => this.#replace());
  }

  #replace(): void {
    this.#server = undefined;
    const now = performance.now();
    this.#restarts = this.#restarts.filter((at) => now - at < RESTART_SPAN_MS);
    if (this.#closed || this.#entries.size === 0 || this.#restarts.length >= MAX_RESTARTS) return;
    this.#restarts.push(now);
    this.warm();
  }
}
