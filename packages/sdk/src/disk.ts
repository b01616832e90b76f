import { fromWire, toWire } from "./convert.ts";
import type { Transport } from "./transport/transport.ts";
import type { CallOptions, Collected, DiskUsage } from "./types.ts";

export interface CollectOptions {
  /** Only says what would be removed. @default false */
  dryRun?: boolean;
  /** Builds of each template that are kept beside the present one, those used last. @default 0 */
  keep?: number;
  /** What was used less than so long ago is kept, in milliseconds. @default 0, and 7 days for logs */
  olderThanMs?: number;
}

/** The daemon's disk. */
export class Disk {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** What takes how much of it. */
  async usage({ signal }: CallOptions = {}): Promise<DiskUsage> {
    return fromWire<DiskUsage>(await this.#transport.json("GET", "/v1/disk", { signal }));
  }

  /**
   * Removes what nothing needs: builds that no template's name stands for any more, and what was made from them. What is in use stays.
   *
   * @example
   * const { removedBytes } = await client.disk.collect({ keep: 1 });
   */
  async collect({ olderThanMs, signal, ...options }: CollectOptions & CallOptions = {}): Promise<Collected> {
    const json = toWire({
      ...options,
      olderThanS: olderThanMs === undefined ? undefined : olderThanMs / 1000,
    });
    return fromWire<Collected>(await this.#transport.json("POST", "/v1/gc", { json, signal }));
  }
}
