import { classify, GATEWAY, type Ipv4, inRange } from "../address.ts";
import {
  type Entry,
  HOST_LOOPBACK,
  type NameEntry,
  normalizeName,
  parseEntry,
  type RangeEntry,
} from "./entry.ts";
import type { NetworkPolicy } from "./schema.ts";

/** Whether a connection may be made, and if so, where to. */
export type Verdict =
  | {
      allowed: true;
      /** Where the host connects to. */
      address: Ipv4;
      /** Why: the address is listed, names that lead to it are, or everything public is allowed. */
      by: "address" | "name" | "all";
    }
  | { allowed: false; why: "policy" | "private" | "host" | "nowhere" };

/** What else a decision depends on, besides the policy. */
export interface Surroundings {
  /** Whether an interface of this host has the address. */
  isOwn(address: Ipv4): boolean;
  /** Names this sandbox has lately been told to have the address. */
  namesOf(address: Ipv4): Iterable<string>;
}

const matches = ({ name, wildcard }: NameEntry, asked: string): boolean =>
  wildcard ? asked.endsWith(`.${name}`) : asked === name;

const hasPort = ({ port }: Entry, asked: number | undefined): boolean =>
  port === undefined || asked === undefined || port === asked;

/** A policy as decisions. Knows nothing of packets. */
export class Rules {
  readonly mode: "none" | "full" | "allow";
  readonly #names: NameEntry[] = [];
  readonly #ranges: RangeEntry[] = [];

  constructor(policy: NetworkPolicy) {
    this.mode = typeof policy === "string" ? policy : "allow";
    for (const text of typeof policy === "string" ? [] : policy.allow) {
      const entry = parseEntry(text);
      if (typeof entry === "string") throw new Error(`not parsed before: ${entry}`);
      if (entry.kind === "name") this.#names.push(entry);
      else this.#ranges.push(entry);
    }
  }

  /** Whether a name may be asked for; with `port`, whether it may be connected to there. */
  allowsName(asked: string, port?: number): boolean {
    if (this.mode !== "allow") return this.mode === "full";
    const name = normalizeName(asked);
    return name !== undefined && this.#names.some((entry) => matches(entry, name) && hasPort(entry, port));
  }

  /** Whether an entry names this very port, other than the one all web servers share, for the name. */
  namesPort(asked: string, port: number): boolean {
    return port !== 80 && this.#names.some((entry) => entry.port === port && matches(entry, asked));
  }

  /** Whether `name` may be told to have `address`: a name is no way to an address that may not be reached. */
  mayResolveTo(address: Ipv4, isOwn: boolean): boolean {
    if (classify(address) === "public" && !isOwn) return true;
    return this.#listed(address, undefined, isOwn);
  }

  judge(address: Ipv4, port: number, { isOwn, namesOf }: Surroundings): Verdict {
    if (this.mode === "none") return { allowed: false, why: "policy" };
    if (address === GATEWAY)
      return this.#exactly(HOST_LOOPBACK, port)
        ? { allowed: true, address: HOST_LOOPBACK, by: "address" }
        : { allowed: false, why: "host" };
    const kind = classify(address);
    if (kind === "nowhere") return { allowed: false, why: "nowhere" };
    const own = isOwn(address);
    if (this.#listed(address, port, own)) return { allowed: true, address, by: "address" };
    if (own || kind === "host") return { allowed: false, why: "host" };
    if (kind === "private") return { allowed: false, why: "private" };
    if (this.mode === "full") return { allowed: true, address, by: "all" };
    for (const name of namesOf(address)) {
      if (this.allowsName(name, port)) return { allowed: true, address, by: "name" };
    }
    return { allowed: false, why: "policy" };
  }

  /** A range opens networks, but of the host itself only what is named one by one. */
  #listed(address: Ipv4, port: number | undefined, isOwn: boolean): boolean {
    const kind = classify(address);
    if (kind === "nowhere") return false;
    if (isOwn || kind === "host") return this.#exactly(address, port);
    return this.#ranges.some((entry) => inRange(address, entry.range) && hasPort(entry, port));
  }

  #exactly(address: Ipv4, port: number | undefined): boolean {
    return this.#ranges.some(
      (entry) => entry.range.prefix === 32 && entry.range.base === address && hasPort(entry, port),
    );
  }
}
