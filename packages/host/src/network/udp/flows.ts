import { createSocket, type Socket } from "node:dgram";
import { systemErrorCode } from "../../errors.ts";
import { formatIpv4, type Ipv4 } from "../address.ts";
import { PORT_UNREACHABLE, quote, sendUnreachable } from "../stack/icmp.ts";
import type { LinkWriter } from "../stack/link-writer.ts";
import type { Packet } from "../stack/packet.ts";
import { type Datagram, sendDatagram } from "./datagram.ts";

const MAX_FLOWS = 256;
/** As long as home routers keep one (RFC 4787 asks for two minutes, and for fewer where there are many). */
const IDLE_MS = 60_000;
/** Datagrams that wait for their flow's socket. */
const MAX_WAITING = 16;
/** Bytes the kernel has not taken yet, beyond which more are dropped. */
const MAX_QUEUED_BYTES = 256 * 1024;

interface Flow {
  socket: Socket;
  /** Not yet connected: what waits for that. */
  waiting: Buffer[] | undefined;
  lastUsed: number;
  /** The datagram that began it, to tell the guest when it led nowhere. */
  first: Packet;
}

/** Datagrams to and from the world: a socket for each pair of ends, which hears nobody but the other end. */
export class UdpFlows {
  readonly #out: LinkWriter;
  /** Least recently used first. */
  readonly #flows = new Map<string, Flow>();

  constructor(out: LinkWriter) {
    this.#out = out;
  }

  get count(): number {
    return this.#flows.size;
  }

  /** Sends a datagram of the guest to `address`, where it may go. */
  send(packet: Packet, datagram: Datagram, address: Ipv4): void {
    const name = key(packet, datagram);
    const flow = this.#flows.get(name) ?? this.#open(name, packet, datagram, address);
    this.#flows.delete(name);
    this.#flows.set(name, flow);
    flow.lastUsed = Date.now();
    const data = Buffer.from(datagram.data);
    if (flow.waiting === undefined) this.#pass(flow, data);
    else if (flow.waiting.length < MAX_WAITING) flow.waiting.push(data);
  }

  /** Ends what has been silent. */
  tick(now: number): void {
    for (const [name, flow] of this.#flows) {
      if (now - flow.lastUsed < IDLE_MS) break;
      this.#close(name, flow);
    }
  }

  close(): void {
    for (const [name, flow] of this.#flows) this.#close(name, flow);
  }

  #open(name: string, packet: Packet, { sourcePort, destinationPort }: Datagram, address: Ipv4): Flow {
    for (const [oldest, flow] of this.#flows) {
      if (this.#flows.size < MAX_FLOWS) break;
      this.#close(oldest, flow);
    }
    const socket = createSocket("udp4");
    const flow: Flow = { socket, waiting: [], lastUsed: Date.now(), first: quote(packet) };
    const { destination } = packet;
    socket.on("error", (error) => this.#failed(name, flow, error));
    socket.on("message", (data) => {
      this.#touch(name, flow);
      sendDatagram(this.#out, destination, destinationPort, sourcePort, data);
    });
    socket.connect(destinationPort, formatIpv4(address), () => {
      const waiting = flow.waiting ?? [];
      flow.waiting = undefined;
      for (const data of waiting) this.#pass(flow, data);
    });
    return flow;
  }

  #pass({ socket }: Flow, data: Buffer): void {
    if (socket.getSendQueueSize() > MAX_QUEUED_BYTES) return;
    // What the kernel says of a datagram that was sent before comes here or as an event.
    socket.send(data, (error) => {
      if (error) socket.emit("error", error);
    });
  }

  #touch(name: string, flow: Flow): void {
    if (this.#flows.get(name) !== flow) return;
    this.#flows.delete(name);
    this.#flows.set(name, flow);
    flow.lastUsed = Date.now();
  }

  #failed(name: string, flow: Flow, error: Error): void {
    if (this.#flows.get(name) !== flow) return;
    // A datagram too long for the path is only that.
    if (systemErrorCode(error) === "EMSGSIZE") return;
    this.#close(name, flow);
    sendUnreachable(this.#out, PORT_UNREACHABLE, flow.first);
  }

  #close(name: string, { socket }: Flow): void {
    if (!this.#flows.delete(name)) return;
    socket.removeAllListeners("message");
    socket.close();
  }
}

const key = ({ destination }: Packet, { sourcePort, destinationPort }: Datagram): string =>
  `${sourcePort} ${destination} ${destinationPort}`;
