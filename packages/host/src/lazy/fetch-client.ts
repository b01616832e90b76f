import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { OnDemandServer } from "../os/server/on-demand-server.ts";
import {
  Arrivals,
  CONTROL_SOCKET,
  Completed,
  FETCHER,
  type FetchBody,
  FetchStatus,
  fetcherDirectory,
} from "./fetch-protocol.ts";

/** By its path alone: what is below this folder does not know what is above. */
const MAIN = fileURLToPath(new URL("../store/fetcher/main.ts", import.meta.url));

/** The fetcher of one KILN_HOME, started when it is not there. */
export class FetchClient implements Disposable {
  readonly #server: OnDemandServer<FetchBody>;

  /** @param home KILN_HOME. */
  constructor(home: string) {
    this.#server = new OnDemandServer({
      kind: FETCHER,
      main: MAIN,
      directory: fetcherDirectory(home),
      socket: CONTROL_SOCKET,
      lock: join(home, "locks", "fetcher-start.lock"),
    });
  }

  /** Resolves when the parts are there. @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`. */
  async fetch(path: string, first: number, end: number): Promise<void> {
    await this.#server.ask({ op: "fetch", path, first, end });
  }

  /** Resolves when all of the file is there. @throws KilnError `STORE_UNAVAILABLE`, `STORE_DAMAGED`. */
  async complete(path: string): Promise<void> {
    while (!Completed.parse(await this.#server.ask({ op: "complete", path })).whole);
  }

  /**
   * The parts that somebody wanted and that have come since an earlier answer's `next`; waits a while for one. Starts no fetcher.
   * @throws KilnError `STORE_UNAVAILABLE` when none runs.
   */
  async arrivals(path: string, since: number): Promise<Arrivals> {
    return Arrivals.parse(await this.#server.askIfRunning({ op: "arrivals", path, since }));
  }

  async begin(paths: readonly string[]): Promise<void> {
    await this.#server.ask({ op: "begin", paths: [...paths] });
  }

  async status(): Promise<FetchStatus> {
    return FetchStatus.parse(await this.#server.ask({ op: "status" }));
  }

  /** What the fetcher of `home` does, or undefined where none runs: none is started. */
  static async statusIfRunning(home: string): Promise<FetchStatus | undefined> {
    using client = new FetchClient(home);
    try {
      return FetchStatus.parse(await client.#server.askIfRunning({ op: "status" }));
    } catch {
      return undefined;
    }
  }

  /** Ends the fetcher, if one is there: it keeps traces in the store first. */
  stop(): Promise<void> {
    return this.#server.stop({ op: "stop" });
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
  }
}
