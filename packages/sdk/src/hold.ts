import { fromWire } from "./convert.ts";
import { decodeLines } from "./transport/lines.ts";
import type { Transport } from "./transport/transport.ts";
import type { SandboxInfo } from "./types.ts";

/** A daemon sends a line every 15 seconds; one silent for so long, in milliseconds, is gone. */
const SILENCE_MS = 60_000;
const AGAIN_PAUSE_MS = 200;
/** The daemon waits 15 seconds for a new sandbox's holder: whoever made it may first use it, for so long, in milliseconds. */
const BEGIN_MS = 100;

/**
 * The connection a held sandbox lives by. When a restart of the daemon cuts it, it is made again in time. It does not keep this
 * process from ending.
 */
export class Hold {
  readonly #letGo = new AbortController();

  constructor(transport: Transport, sandboxId: string, onChange: (info: SandboxInfo) => void) {
    const begin = () => {
      // What is wrong shows in all that is asked of the sandbox.
      this.#run(transport, sandboxId, onChange).catch(() => undefined);
    };
    setTimeout(begin, BEGIN_MS).unref();
  }

  async #run(transport: Transport, sandboxId: string, onChange: (info: SandboxInfo) => void): Promise<void> {
    const { signal } = this.#letGo;
    while (!signal.aborted) {
      const path = `/v1/sandboxes/${sandboxId}/hold`;
      const response = await transport.send("GET", path, { signal, idleTimeoutMs: SILENCE_MS });
      response.socket.unref();
      try {
        for await (const line of decodeLines(response)) {
          const event = line as { type?: unknown; sandbox?: unknown };
          if (event.type === "killed") return;
          if (event.type === "sandbox") onChange(fromWire<SandboxInfo>(event.sandbox));
        }
      } catch {
        // Cut: again, as long as the sandbox is there.
      }
      response.socket.ref(); // It may be used for another request.
      if (signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_PAUSE_MS));
    }
  }

  /** Lets go: the daemon kills the sandbox when nobody else holds it. */
  release(): void {
    this.#letGo.abort();
  }
}
