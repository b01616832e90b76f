import { lookup } from "node:dns/promises";
import { systemErrorCode } from "../../errors.ts";
import { type Ipv4, parseIpv4 } from "../address.ts";
import { normalizeName } from "../policy/entry.ts";
import type { Rules } from "../policy/rules.ts";
import { forwardQuery } from "./forward.ts";
import { CODE, parseQuery, type Question, reverseAddress, TYPE, writeAnswer, writeError } from "./message.ts";

/** How long a guest may keep an answer: the host's resolver does not say how long it is good, and keeps it itself. */
const TTL_S = 30;
/** How long a name without addresses is not asked for again. */
const FAILURE_TTL_S = 5;
const MAX_CACHED = 512;
/** Lookups of one guest under way: each holds a thread of all guests' pool. */
const MAX_LOOKUPS = 4;
const MAX_FORWARDED = 16;
/** Questions of one guest that wait; more are dropped, and repeated by whoever asks. */
const MAX_WAITING = 128;

type Found = { code: number; addresses: Ipv4[]; until: number };

export interface NameServerOptions {
  rules: Rules;
  isOwn(address: Ipv4): boolean;
  /** The guest was told that a name has an address. */
  onResolved(name: string, address: Ipv4): void;
  /** The guest asked for what it may not know. */
  onRefused(name: string): void;
}

/**
 * A guest's name server. Names are looked up as any program of the host would; those the guest may not ask for are not looked up at
 * all, so that no question is a message to anybody.
 */
export class NameServer {
  readonly #options: NameServerOptions;
  readonly #closed = new AbortController();
  readonly #cache = new Map<string, Found | Promise<Found>>();
  readonly #lookups = new Turns(MAX_LOOKUPS, MAX_WAITING);
  readonly #forwarded = new Turns(MAX_FORWARDED, MAX_WAITING);

  constructor(options: NameServerOptions) {
    this.#options = options;
  }

  /** The answer, or undefined for none. `stream`: it may be longer than a datagram. */
  async answer(query: Buffer, stream: boolean): Promise<Buffer | undefined> {
    const question = parseQuery(query);
    if (question === undefined) return undefined;
    if ("code" in question) return writeError(question.id, question.code);
    const { name, type, isInternet } = question;
    const { rules, onRefused } = this.#options;
    if (name === undefined || !isInternet || !rules.allowsName(name)) {
      onRefused(name ?? "?");
      return writeAnswer(question, CODE.nameError);
    }
    if (type === TYPE.a) return this.#answerAddresses(question, name);
    // There is no IPv6; and in a list of names nothing but addresses leads anywhere.
    if (type === TYPE.aaaa || rules.mode !== "full") return writeAnswer(question, CODE.ok);
    return this.#forward(question, query, stream);
  }

  close(): void {
    this.#closed.abort();
    this.#cache.clear();
  }

  async #answerAddresses(question: Question, asked: string): Promise<Buffer | undefined> {
    const { rules, isOwn, onResolved, onRefused } = this.#options;
    const name = normalizeName(asked);
    if (name === undefined) return writeAnswer(question, CODE.nameError);
    const found = await this.#find(name);
    if (found === undefined || this.#closed.signal.aborted) return undefined;
    const allowed = found.addresses.filter((address) => rules.mayResolveTo(address, isOwn(address)));
    if (found.addresses.length > 0 && allowed.length === 0) {
      onRefused(name);
      return writeAnswer(question, CODE.nameError);
    }
    for (const address of allowed) onResolved(name, address);
    return writeAnswer(question, found.code, allowed, TTL_S);
  }

  /** Undefined when too many wait already. */
  async #find(name: string): Promise<Found | undefined> {
    const cached = this.#cache.get(name);
    if (cached instanceof Promise || (cached !== undefined && cached.until > Date.now())) return cached;
    const looked = this.#lookups.run(() => find(name));
    if (looked === undefined) return undefined;
    this.#cache.delete(name);
    this.#cache.set(name, looked);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= MAX_CACHED) break;
      this.#cache.delete(oldest);
    }
    const found = await looked;
    if (this.#cache.get(name) === looked) this.#cache.set(name, found);
    return found;
  }

  async #forward(question: Question, query: Buffer, stream: boolean): Promise<Buffer | undefined> {
    const about = question.type === TYPE.ptr ? reverseAddress(question.name ?? "") : undefined;
    // Names of machines that cannot be reached are nobody's business either.
    if (about !== undefined && !this.#options.rules.mayResolveTo(about, this.#options.isOwn(about)))
      return writeAnswer(question, CODE.nameError);
    const copy = Buffer.from(query);
    const forwarded = this.#forwarded.run(() => forwardQuery(copy, stream, this.#closed.signal));
    return forwarded === undefined
      ? undefined
      : ((await forwarded) ?? writeAnswer(question, CODE.serverFailure));
  }
}

async function find(name: string): Promise<Found> {
  try {
    const results = await lookup(name, { family: 4, all: true });
    const addresses = results
      .map(({ address }) => parseIpv4(address))
      .filter((address) => address !== undefined);
    return { code: CODE.ok, addresses, until: Date.now() + TTL_S * 1000 };
  } catch (error) {
    const reason = systemErrorCode(error);
    const code =
      reason === "ENOTFOUND" ? CODE.nameError : reason === "ENODATA" ? CODE.ok : CODE.serverFailure;
    return { code, addresses: [], until: Date.now() + FAILURE_TTL_S * 1000 };
  }
}

/** Runs so many at a time, and lets so many wait. */
class Turns {
  readonly #atOnce: number;
  readonly #mayWait: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(atOnce: number, mayWait: number) {
    this.#atOnce = atOnce;
    this.#mayWait = mayWait;
  }

  /** Undefined when too many wait. */
  run<T>(work: () => Promise<T>): Promise<T> | undefined {
    if (this.#running >= this.#atOnce && this.#waiting.length >= this.#mayWait) return undefined;
    return this.#run(work);
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
