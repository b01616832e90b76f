import { formatIpv4, GATEWAY, type Ipv4, NAME_SERVER } from "./address.ts";
import type { GuestStats, Refusal } from "./control-protocol.ts";
import { NameServer } from "./dns/name-server.ts";
import { openNameStream } from "./dns/stream.ts";
import type { HostAddresses } from "./host-addresses.ts";
import { Resolved } from "./policy/resolved.ts";
import { Rules, type Verdict } from "./policy/rules.ts";
import type { NetworkPolicy } from "./policy/schema.ts";
import { answerArp } from "./stack/arp.ts";
import { answerEcho, PROHIBITED, sendUnreachable } from "./stack/icmp.ts";
import { LinkWriter, type Send } from "./stack/link-writer.ts";
import { type Packet, PROTOCOL, parseFrame } from "./stack/packet.ts";
import { TcpConnections } from "./tcp/connections.ts";
import { type Datagram, parseDatagram, sendDatagram } from "./udp/datagram.ts";
import { UdpFlows } from "./udp/flows.ts";

const DNS_PORT = 53;
/** Names that were asked for and refusals that are remembered. */
const MAX_REFUSALS = 32;

/**
 * All there is on a guest's link: the gateway, the name server, and behind them what its policy allows. Fed with frames; nothing a guest sends
 * makes it throw or hold more than its limits.
 */
export class GuestNetwork {
  readonly #out: LinkWriter;
  readonly #rules: Rules;
  readonly #host: HostAddresses;
  readonly #resolved = new Resolved();
  readonly #names: NameServer;
  readonly #tcp: TcpConnections;
  readonly #udp: UdpFlows;
  readonly #refusals: Refusal[] = [];
  #refused = 0;
  #questions = 0;
  #sentBytes = 0;

  constructor(policy: NetworkPolicy, host: HostAddresses, send: Send) {
    const rules = new Rules(policy);
    const out = new LinkWriter(send);
    this.#rules = rules;
    this.#host = host;
    this.#out = out;
    this.#names = new NameServer({
      rules,
      isOwn: (address) => host.has(address),
      onResolved: (name, address) => this.#resolved.add(name, address, Date.now()),
      onRefused: (name) => this.#refuse(name, "name"),
    });
    this.#tcp = new TcpConnections({
      out,
      rules,
      judge: (address, port) => this.#judge(address, port),
      namesOf: (address) => this.#resolved.namesOf(address, Date.now()),
      listener: (address, port) =>
        address === NAME_SERVER && port === DNS_PORT && rules.mode !== "none"
          ? openNameStream(this.#names)
          : undefined,
      onRefused: (address, port, why) => this.#refuse(`${formatIpv4(address)}:${port}`, why),
    });
    this.#udp = new UdpFlows(out);
  }

  /** Takes a frame of the guest; it need not stay valid. */
  receive(buffer: Buffer, start: number, end: number): void {
    this.#sentBytes += end - start;
    // Who does not take answers gets none.
    if (this.#out.full) return;
    const frame = parseFrame(buffer, start, end);
    if (frame.kind === "arp") answerArp(this.#out, frame.buffer, frame.start, frame.end);
    if (frame.kind !== "ipv4") return;
    // Behind a new server the guest need not ask for addresses it knows.
    buffer.copy(this.#out.guestMac, 0, start + 6, start + 12);
    if (frame.protocol === PROTOCOL.tcp) this.#tcp.receive(frame);
    else if (frame.protocol === PROTOCOL.udp) this.#receiveDatagram(frame);
    else if (frame.protocol === PROTOCOL.icmp) this.#receiveIcmp(frame);
  }

  /** After the frames that arrived together. */
  afterFrames(): void {
    this.#tcp.acknowledge();
    this.#out.flush();
  }

  tick(now: number): void {
    this.#tcp.tick(now);
    this.#udp.tick(now);
  }

  stats(): GuestStats {
    return {
      sent_bytes: this.#sentBytes,
      received_bytes: this.#out.bytes,
      connections: this.#tcp.count,
      flows: this.#udp.count,
      opened: this.#tcp.opened,
      failed: this.#tcp.failed,
      refused: this.#refused,
      refusals: [...this.#refusals],
      questions: this.#questions,
    };
  }

  close(): void {
    this.#tcp.close();
    this.#udp.close();
    this.#names.close();
  }

  #receiveIcmp(packet: Packet): void {
    const { destination } = packet;
    if (destination === GATEWAY || destination === NAME_SERVER) answerEcho(this.#out, packet);
    else if (packet.buffer[packet.payload] === 8) sendUnreachable(this.#out, PROHIBITED, packet);
  }

  #receiveDatagram(packet: Packet): void {
    const datagram = parseDatagram(packet);
    if (datagram === undefined) return;
    const { destination } = packet;
    const { sourcePort, destinationPort, data } = datagram;
    if (destination === NAME_SERVER && destinationPort === DNS_PORT && this.#rules.mode !== "none") {
      this.#questions += 1;
      void this.#names.answer(Buffer.from(data), false).then((answer) => {
        if (answer !== undefined) sendDatagram(this.#out, NAME_SERVER, DNS_PORT, sourcePort, answer);
      });
      return;
    }
    this.#forwardDatagram(packet, datagram);
  }

  #forwardDatagram(packet: Packet, datagram: Datagram): void {
    const { destination } = packet;
    const { destinationPort } = datagram;
    const verdict = this.#judge(destination, destinationPort);
    // Datagrams do not say whom they are for, so a name that leads to an address is not enough.
    if (verdict.allowed && verdict.by !== "name") {
      this.#udp.send(packet, datagram, verdict.address);
      return;
    }
    this.#refuse(
      `${formatIpv4(destination)}:${destinationPort}/udp`,
      verdict.allowed ? "policy" : verdict.why,
    );
    // Broadcasts and multicasts are answered by nobody.
    if (verdict.allowed || verdict.why !== "nowhere") sendUnreachable(this.#out, PROHIBITED, packet);
  }

  #judge(address: Ipv4, port: number): Verdict {
    return this.#rules.judge(address, port, {
      isOwn: (one) => this.#host.has(one),
      namesOf: (one) => this.#resolved.namesOf(one, Date.now()),
    });
  }

  #refuse(target: string, why: string): void {
    this.#refused += 1;
    this.#refusals.push({ at: new Date().toISOString(), target, why });
    if (this.#refusals.length > MAX_REFUSALS) this.#refusals.shift();
  }
}
