import { readClientHello } from "./client-hello.ts";
import { readRequest } from "./http-request.ts";
import type { Rules } from "./rules.ts";

/** What must have said by then where it goes, in bytes. */
const MAX_BYTES = 24 * 1024;
/** In so many pieces: each is a look at all of it. */
const MAX_PIECES = 256;
const TLS = 0x16;

/**
 * `hold` all there is until more has come; `watch`: pass it on, no server can act on so little, and show what comes next; `pass` on
 * everything from here; or nothing may pass, and why.
 */
export type FirstBytesVerdict = "hold" | "watch" | "pass" | { refused: string };

/**
 * What a guest says first on a connection that it may make because of a name. Many names share an address, and TLS and HTTP say
 * by name whom they mean: that has to be on the list as well.
 */
export class FirstBytes {
  readonly #rules: Rules;
  readonly #port: number;
  readonly #checksHttp: boolean;
  #bytes = Buffer.alloc(0);
  #pieces = 0;

  /** `names`: by which the connection is allowed. */
  constructor(rules: Rules, port: number, names: Iterable<string>) {
    this.#rules = rules;
    this.#port = port;
    // Whoever names a port means what is there: a proxy, to which requests for anybody go.
    this.#checksHttp = ![...names].some((name) => rules.namesPort(name, port));
  }

  push(chunk: Buffer): FirstBytesVerdict {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const verdict = this.#look();
    const undecided = verdict === "hold" || verdict === "watch";
    return undecided && (this.#bytes.length > MAX_BYTES || ++this.#pieces > MAX_PIECES)
      ? { refused: "it does not say where it wants to go" }
      : verdict;
  }

  #look(): FirstBytesVerdict {
    if (this.#bytes[0] === TLS) {
      const hello = readClientHello(this.#bytes);
      if (hello === "more") return "hold";
      if (hello === undefined) return { refused: "its TLS handshake cannot be read" };
      return this.#judge("TLS", hello.serverName);
    }
    if (!this.#checksHttp) return "pass";
    const request = readRequest(this.#bytes);
    // Programs that speak no HTTP may wait for an answer before they end their first line.
    if (request === "more") return "watch";
    return request === "other" ? "pass" : this.#judge("HTTP", request.host);
  }

  #judge(protocol: string, name: string | undefined): "pass" | { refused: string } {
    if (name === undefined) return { refused: `it names no host in ${protocol}` };
    if (this.#rules.allowsName(name, this.#port)) return "pass";
    return { refused: `it names ${JSON.stringify(name.slice(0, 253))} in ${protocol}` };
  }
}
