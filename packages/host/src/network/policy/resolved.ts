import type { Ipv4 } from "../address.ts";

/** How long after it was last told, a guest may connect to a name's address: longer than programs keep one. */
const GRACE_MS = 15 * 60_000;
const MAX_ADDRESSES = 1024;
/** Names of one address that are remembered. */
const MAX_NAMES = 16;

/** What a guest was told its names' addresses are. Bounded: the oldest go first. */
export class Resolved {
  /** By address, least recently told first: until when each name holds. */
  readonly #names = new Map<Ipv4, Map<string, number>>();

  add(name: string, address: Ipv4, now: number): void {
    const names = this.#names.get(address) ?? new Map<string, number>();
    this.#names.delete(address);
    this.#names.set(address, names);
    names.delete(name);
    names.set(name, now + GRACE_MS);
    dropFirst(names, MAX_NAMES);
    dropFirst(this.#names, MAX_ADDRESSES);
  }

  namesOf(address: Ipv4, now: number): string[] {
    const names = this.#names.get(address);
    return names === undefined ? [] : [...names].filter(([, until]) => until > now).map(([name]) => name);
  }
}

function dropFirst<K>(map: Map<K, unknown>, limit: number): void {
  for (const key of map.keys()) {
    if (map.size <= limit) return;
    map.delete(key);
  }
}
