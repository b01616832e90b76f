import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { OnDemandServer } from "../../os/server/on-demand-server.ts";
import { CONTROL_SOCKET, MEMORY_SERVER, type MemoryBody, memoryDirectory, Shown } from "./memory-protocol.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

/** The memory server of one KILN_HOME, started when it is not there. */
export class MemoryClient implements Disposable {
  readonly #server: OnDemandServer<MemoryBody>;

  /** @param home KILN_HOME. */
  constructor(home: string) {
    this.#server = new OnDemandServer({
      kind: MEMORY_SERVER,
      main: MAIN,
      directory: memoryDirectory(home),
      socket: CONTROL_SOCKET,
      lock: join(home, "locks", "memory-start.lock"),
    });
  }

  /** Has it started, ready to show files where the host allows that. */
  async start(): Promise<void> {
    await this.#server.ask({ op: "start" });
  }

  /** A path that can be mapped and reads as the file does, or undefined where that is not possible. */
  async show(path: string): Promise<string | undefined> {
    return Shown.parse(await this.#server.ask({ op: "show", path })).path ?? undefined;
  }

  /** Ends the server, if one is there: VMs that have a file mapped that it shows do not outlive that. */
  stop(): Promise<void> {
    return this.#server.stop({ op: "stop" });
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
  }
}
