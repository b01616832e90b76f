import { fromWire } from "./convert.ts";
import { fromErrorBody, KilnError } from "./errors.ts";
import { decodeLines } from "./transport/lines.ts";
import type { Transport } from "./transport/transport.ts";
import type { Build, BuildEvent, CallOptions, EngineChoice } from "./types.ts";

/** Pause before the events of a build are asked for again after a cut, in milliseconds. */
const AGAIN_PAUSE_MS = 200;
/** How long is tried to reach a build's events again, in milliseconds. */
const AGAIN_PATIENCE_MS = 60_000;

/** A TemplateSpec as it is written (docs/templates.md): names in snake_case. */
export type TemplateSpec = { name: string } & Record<string, unknown>;

export interface BuildOptions extends CallOptions {
  vcpu?: number;
  memoryMib?: number;
  engine?: EngineChoice;
  /** How long one step may take, in seconds. @default as the daemon's configuration says: an hour */
  stepTimeoutS?: number;
}

/** What the daemon builds and has built. A build goes on when its client goes away. */
export class Builds {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Starts a build of a template or a spec, or queues it; the same one twice at once is one build. */
  async start(
    template: string | TemplateSpec,
    { signal, vcpu, memoryMib, engine, stepTimeoutS }: BuildOptions = {},
  ): Promise<Build> {
    const what = typeof template === "string" ? { template } : { spec: template };
    const json = { ...what, vcpu, memory_mib: memoryMib, engine, step_timeout_s: stepTimeoutS };
    return fromWire<Build>(await this.#transport.json("POST", "/v1/builds", { json, signal }));
  }

  async list({ signal }: CallOptions = {}): Promise<Build[]> {
    return fromWire<{ builds: Build[] }>(await this.#transport.json("GET", "/v1/builds", { signal })).builds;
  }

  /** @throws KilnError `BUILD_NOT_FOUND`. */
  async get(id: string, { signal }: CallOptions = {}): Promise<Build> {
    return fromWire<Build>(
      await this.#transport.json("GET", `/v1/builds/${encodeURIComponent(id)}`, { signal }),
    );
  }

  /** A build's progress from its beginning, then as it comes, to its end; a connection that is cut is made again. */
  async *events(id: string, { signal }: CallOptions = {}): AsyncGenerator<BuildEvent, void> {
    let seen = 0;
    let cutSince: number | undefined;
    for (;;) {
      let failure: unknown;
      try {
        const path = `/v1/builds/${encodeURIComponent(id)}/events`;
        let line = 0;
        for await (const value of decodeLines(await this.#transport.send("GET", path, { signal }))) {
          line += 1;
          if (line <= seen) continue;
          seen = line;
          cutSince = undefined;
          const event = fromWire<BuildEvent>(value);
          yield event;
          if (event.type === "end") return;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof KilnError && !["CONNECTION_LOST", "UNREACHABLE"].includes(error.code))
          throw error;
        failure = error;
      }
      signal?.throwIfAborted();
      cutSince ??= performance.now();
      if (performance.now() - cutSince > AGAIN_PATIENCE_MS) {
        throw new KilnError("CONNECTION_LOST", "the connection to the build was lost", { cause: failure });
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_PAUSE_MS));
    }
  }

  /** Resolves when a build is done. @throws KilnError with what made it fail. */
  async wait(
    id: string,
    options: CallOptions & { onProgress?: (event: BuildEvent) => void } = {},
  ): Promise<Build> {
    for await (const event of this.events(id, options)) {
      options.onProgress?.(event);
      if (event.type !== "end") continue;
      if (event.build.state === "done") return event.build;
      throw fromErrorBody(
        event.build.error ?? { code: "BUILD_FAILED", message: `the build ${event.build.state}` },
      );
    }
    throw new KilnError("INTERNAL", "a build's events ended without its end");
  }

  async cancel(id: string, { signal }: CallOptions = {}): Promise<void> {
    await this.#transport.json("DELETE", `/v1/builds/${encodeURIComponent(id)}`, { signal });
  }
}
