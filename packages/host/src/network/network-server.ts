import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KilnError } from "../errors.ts";
import { ControlClient } from "../os/server/control-client.ts";
import { type ServerProcess, spawnServer } from "../os/server/server-process.ts";
import { checkSocketPath } from "../os/server/socket-path.ts";
import {
  CONTROL_SOCKET,
  type ControlBody,
  ListResult,
  NETWORK_SERVER,
  NetworkOptions,
  NetworkStats,
} from "./control-protocol.ts";

export interface NetworkServerOptions {
  /** Folder for the server's socket and its log; made when absent. Short: a socket's path has 107 bytes at most. */
  directory: string;
  /** Lets the server outlive this process; without it the server dies with it, however that ends. @default false */
  detached?: boolean;
}

/** A process that is the network of any number of sandboxes. */
export class NetworkServer implements AsyncDisposable {
  readonly pid: number;
  /** Resolves when the server is gone, in whatever way. */
  readonly exited: Promise<void>;
  readonly #control: ControlClient<ControlBody>;
  readonly #process: ServerProcess | undefined;

  private constructor(control: ControlClient<ControlBody>, pid: number, owned: ServerProcess | undefined) {
    this.pid = pid;
    this.#control = control;
    this.#process = owned;
    this.exited = owned?.exited ?? control.closed;
  }

  /** @throws KilnError `USAGE` when the folder's path is too long; `NETWORK_FAILED` when the server doesn't start. */
  static async start({ directory, detached = false }: NetworkServerOptions): Promise<NetworkServer> {
    checkSocketPath(join(directory, CONTROL_SOCKET));
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const main = fileURLToPath(new URL("./server/main.ts", import.meta.url));
    const owned = await spawnServer(NETWORK_SERVER, main, directory, detached, undefined);
    try {
      const { client, pid } = await ControlClient.connect<ControlBody>(
        NETWORK_SERVER,
        join(directory, CONTROL_SOCKET),
      );
      if (detached) client.unref();
      return new NetworkServer(client, pid, owned);
    } catch (error) {
      await owned.kill();
      throw error;
    }
  }

  /** Takes up a server that is running in `directory`. @throws KilnError `NETWORK_FAILED` when none does. */
  static async attach(directory: string): Promise<NetworkServer> {
    const { client, pid } = await ControlClient.connect<ControlBody>(
      NETWORK_SERVER,
      join(directory, CONTROL_SOCKET),
    );
    client.unref();
    return new NetworkServer(client, pid, undefined);
  }

  /** @throws KilnError `USAGE` for bad options, or when the sandbox has another network already. */
  async add(options: NetworkOptions): Promise<void> {
    const parsed = NetworkOptions.safeParse(options);
    if (!parsed.success) {
      const issues = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
      throw new KilnError("USAGE", `bad network options: ${issues.join("; ")}`);
    }
    await this.#control.request({ op: "add", network: parsed.data });
  }

  async remove(id: string): Promise<void> {
    await this.#control.request({ op: "remove", id });
  }

  async stats(id: string): Promise<NetworkStats> {
    return NetworkStats.parse(await this.#control.request({ op: "stats", id }));
  }

  /** The sandboxes it serves just now. */
  async list(): Promise<NetworkOptions[]> {
    return ListResult.parse(await this.#control.request({ op: "list" })).networks;
  }

  /** Ends the server, and all connections with it. Does nothing when it is gone already. */
  async stop(): Promise<void> {
    await this.#control.request({ op: "stop" }).catch(() => undefined);
    if (this.#process === undefined) await this.#control.closed;
    else await this.#process.end();
    this.#control[Symbol.dispose]();
  }

  /** Lets go of a detached server without ending it. */
  release(): void {
    this.#control[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
