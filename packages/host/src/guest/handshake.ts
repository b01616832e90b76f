import { randomInt } from "node:crypto";
import { KilnError } from "../errors.ts";
import { encodeFrame, Kind, SYNC } from "./frame.ts";
import { ErrorCode, Hello, type Identity, type Ready } from "./gen/kiln/agent/v1/agent.ts";

const PROTOCOL_VERSION = 1;
/** Bytes a guest may send on one stream before what it sent was read. */
export const HOST_WINDOW_BYTES = 262_144;
const MIN_WINDOW_BYTES = 1;
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;
const MAX_GENERATION = 0xffff_ffff;
/** Times a guest may say that it has seen a newer generation. */
const MAX_RETRIES = 3;

/** What a READY means to whoever waits for one. */
export type Verdict =
  /** It answers another greeting. */
  | { kind: "ignore" }
  /** `again`: what was sent behind the first greeting was swallowed with it and has to be sent once more. */
  | { kind: "accept"; again: boolean }
  /** The guest has seen as new a generation already: greet with this one. */
  | { kind: "retry"; generation: number }
  | { kind: "refuse"; error: KilnError };

/** One handshake: the greetings that are sent and which answer belongs to them. */
export class Handshake {
  readonly #identity: Identity | undefined;
  /** Of the greetings in the present generation, in their order. */
  #nonces: number[] = [];
  #retries = 0;
  generation: number;

  constructor(generation: number, identity: Identity | undefined) {
    this.generation = generation;
    this.#identity = identity;
  }

  /** The bytes of another greeting. */
  greeting(): Buffer {
    const nonce = randomInt(1, 2 ** 32);
    this.#nonces.push(nonce);
    const hello = Hello.encode({
      version: PROTOCOL_VERSION,
      minVersion: PROTOCOL_VERSION,
      window: HOST_WINDOW_BYTES,
      identity: this.#identity,
      nonce,
    }).finish();
    return Buffer.concat([SYNC, encodeFrame(Kind.hello, 0, this.generation, hello)]);
  }

  /** What `ready` means, which came in a frame of `generation`. */
  judge(ready: Ready, generation: number): Verdict {
    // An agent of before nonces sends none: its refusals are told apart by their generation, as far as they can be.
    const place = this.#nonces.indexOf(ready.nonce);
    if (ready.nonce !== 0 && place < 0) return { kind: "ignore" };
    if (ready.error && ready.version === 0) return this.#refused(ready.error, ready.nonce, generation);
    if (generation !== this.generation) return { kind: "ignore" }; // From an earlier life.
    if (
      ready.version !== PROTOCOL_VERSION ||
      ready.window < MIN_WINDOW_BYTES ||
      ready.window > MAX_WINDOW_BYTES
    ) {
      const message = `the guest agent answered with version ${ready.version}`;
      const hint =
        "its template was built by another version of Kiln: remove it by kiln template rm, and build it again";
      return { kind: "refuse", error: new KilnError("GUEST_PROTOCOL", message, { hint }) };
    }
    return { kind: "accept", again: place > 0 };
  }

  #refused(reason: NonNullable<Ready["error"]>, nonce: number, generation: number): Verdict {
    if (reason.code === ErrorCode.ERROR_CODE_HANDSHAKE) {
      if (generation >= this.generation && generation < MAX_GENERATION && this.#retries < MAX_RETRIES) {
        this.#retries += 1;
        this.#nonces = [];
        this.generation = generation + 1;
        return { kind: "retry", generation: this.generation };
      }
      // Ours is newer than the agent's: it was an older greeting that was not.
      if (nonce === 0 && generation < this.generation) return { kind: "ignore" };
    }
    const message = `the guest agent refused the handshake: ${reason.message.slice(0, 200)}`;
    return { kind: "refuse", error: new KilnError("GUEST_PROTOCOL", message) };
  }
}
