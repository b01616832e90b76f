import { KilnError } from "../../errors.ts";
import type { NetworkOptions, NetworkStats } from "../control-protocol.ts";
import { HostAddresses } from "../host-addresses.ts";
import { Link } from "./link.ts";

/** Sandboxes of one server. */
const MAX_LINKS = 4096;
const TICK_MS = 250;

/** The links of all sandboxes. */
export class Links {
  readonly #host = new HostAddresses();
  readonly #links = new Map<string, Link>();
  readonly #clock = setInterval(() => this.#tick(), TICK_MS);

  /** Adding what is there already changes nothing. */
  add(options: NetworkOptions): void {
    const there = this.#links.get(options.id);
    if (there !== undefined) {
      if (JSON.stringify(there.options) === JSON.stringify(options)) return;
      throw new KilnError("USAGE", `sandbox "${options.id}" has a network already, with other options`);
    }
    if (this.#links.size >= MAX_LINKS)
      throw new KilnError("LIMIT_REACHED", `the network server has ${MAX_LINKS} sandboxes already`);
    this.#links.set(options.id, new Link(options, this.#host));
  }

  /** Removing what is not there is fine. */
  remove(id: string): void {
    this.#links.get(id)?.close();
    this.#links.delete(id);
  }

  stats(id: string): NetworkStats {
    const link = this.#links.get(id);
    if (link === undefined) throw new KilnError("NETWORK_FAILED", `sandbox "${id}" has no network here`);
    return link.stats();
  }

  list(): NetworkOptions[] {
    return [...this.#links.values()].map(({ options }) => options);
  }

  close(): void {
    clearInterval(this.#clock);
    for (const id of this.#links.keys()) this.remove(id);
  }

  #tick(): void {
    const now = Date.now();
    for (const link of this.#links.values()) link.tick(now);
  }
}
