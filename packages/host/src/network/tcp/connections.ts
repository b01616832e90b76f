import type { Duplex } from "node:stream";
import type { Ipv4 } from "../address.ts";
import { FirstBytes } from "../policy/first-bytes.ts";
import type { Rules, Verdict } from "../policy/rules.ts";
import { HOST_UNREACHABLE, PROHIBITED, quote, sendUnreachable } from "../stack/icmp.ts";
import type { LinkWriter } from "../stack/link-writer.ts";
import type { Packet } from "../stack/packet.ts";
import { TcpConnection } from "./connection.ts";
import { dial } from "./dial.ts";
import type { Held } from "./receiver.ts";
import { ACK, type Ends, parseSegment, RST, type Segment, SYN, sendReset } from "./segment.ts";

/** Connections of one guest, those not open yet included. */
export const MAX_CONNECTIONS = 1024;
/** Bytes of one guest that wait for the other sides to take them. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;

export interface ConnectionsOptions {
  out: LinkWriter;
  rules: Rules;
  judge(address: Ipv4, port: number): Verdict;
  namesOf(address: Ipv4): string[];
  /** What listens at one of our own addresses, if anything. */
  listener(address: Ipv4, port: number): Duplex | undefined;
  onRefused(address: Ipv4, port: number, why: string): void;
}

/** A connection the guest has asked for, as long as the other side has not answered. */
interface Dialed {
  cancel(): void;
}

/** All TCP connections of a guest. One is accepted when the other side has accepted it. */
export class TcpConnections {
  readonly #options: ConnectionsOptions;
  readonly #connections = new Map<string, TcpConnection>();
  readonly #dialed = new Map<string, Dialed>();
  /** Those that owe an acknowledgment. */
  readonly #owing = new Set<TcpConnection>();
  readonly #held: Held = { bytes: 0, limit: MAX_HELD_BYTES };
  /** Connections that came about. */
  opened = 0;
  /** Connections that could not be made, or were too many. */
  failed = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#connections.size + this.#dialed.size;
  }

  receive(packet: Packet): void {
    const segment = parseSegment(packet);
    if (segment === undefined) return;
    const ends = {
      address: packet.destination,
      port: segment.destinationPort,
      guestPort: segment.sourcePort,
    };
    const key = `${ends.guestPort} ${ends.address} ${ends.port}`;
    const connection = this.#connections.get(key);
    if (connection !== undefined) {
      if (connection.receive(segment)) this.#owing.add(connection);
      return;
    }
    const dialed = this.#dialed.get(key);
    if (dialed !== undefined) {
      if ((segment.flags & RST) !== 0) this.#giveUp(key, dialed);
    } else if ((segment.flags & (SYN | ACK | RST)) === SYN) this.#open(key, ends, segment, packet);
    else sendReset(this.#options.out, ends, segment);
  }

  /** Acknowledges what has arrived, once for all that arrived together. */
  acknowledge(): void {
    for (const connection of this.#owing) connection.acknowledge();
    this.#owing.clear();
  }

  tick(now: number): void {
    for (const connection of this.#connections.values()) connection.tick(now);
  }

  /** Ends all of them; the guest is not told. */
  close(): void {
    for (const [key, dialed] of this.#dialed) this.#giveUp(key, dialed);
    for (const connection of this.#connections.values()) connection.discard();
  }

  #open(key: string, ends: Ends, segment: Segment, packet: Packet): void {
    const { out, judge, listener, onRefused } = this.#options;
    const { address, port } = ends;
    if (this.count >= MAX_CONNECTIONS) {
      this.failed += 1;
      sendReset(out, ends, segment);
      return;
    }
    const local = listener(address, port);
    if (local !== undefined) {
      this.#join(key, ends, segment, local, undefined);
      return;
    }
    const verdict = judge(address, port);
    if (!verdict.allowed) {
      onRefused(address, port, verdict.why);
      sendUnreachable(out, PROHIBITED, packet);
      return;
    }
    const inspection = verdict.by === "name" ? this.#inspection(address, port) : undefined;
    // What it was asked with, for when the answer comes.
    const asked = quote(packet);
    const syn = copySyn(segment);
    const dialed = dial(
      verdict.address,
      port,
      (upstream) => {
        this.#dialed.delete(key);
        this.#join(key, ends, syn, upstream, inspection);
      },
      (why) => {
        this.#dialed.delete(key);
        this.failed += 1;
        if (why === "refused") sendReset(out, ends, syn);
        else sendUnreachable(out, HOST_UNREACHABLE, asked);
      },
    );
    this.#dialed.set(key, dialed);
  }

  #inspection(address: Ipv4, port: number): FirstBytes {
    return new FirstBytes(this.#options.rules, port, this.#options.namesOf(address));
  }

  #join(key: string, ends: Ends, syn: Segment, upstream: Duplex, inspection: FirstBytes | undefined): void {
    this.opened += 1;
    const connection: TcpConnection = new TcpConnection(ends, syn, upstream, {
      out: this.#options.out,
      held: this.#held,
      crowd: this.#connections.size,
      inspection,
      onRefused: (why) => this.#options.onRefused(ends.address, ends.port, why),
      onClosed: () => {
        this.#connections.delete(key);
        this.#owing.delete(connection);
      },
    });
    this.#connections.set(key, connection);
  }

  #giveUp(key: string, dialed: Dialed): void {
    this.#dialed.delete(key);
    dialed.cancel();
  }
}

/** A SYN with its options, out of the buffer it arrived in; data in it will be sent again. */
function copySyn(segment: Segment): Segment {
  const buffer = Buffer.from(segment.buffer.subarray(segment.options, segment.data));
  return { ...segment, buffer, options: 0, data: buffer.length, end: buffer.length };
}
