import { networkInterfaces } from "node:os";
import { type Ipv4, parseIpv4 } from "./address.ts";

/** Interfaces come and go; so long the last look holds, in milliseconds. */
const FRESH_MS = 1_000;

/** This host's own addresses. */
export class HostAddresses {
  #addresses = new Set<Ipv4>();
  #until = 0;

  has(address: Ipv4): boolean {
    const now = performance.now();
    if (now >= this.#until) {
      this.#until = now + FRESH_MS;
      this.#addresses = own();
    }
    return this.#addresses.has(address);
  }
}

function own(): Set<Ipv4> {
  const addresses = new Set<Ipv4>();
  for (const interfaces of Object.values(networkInterfaces())) {
    for (const { address } of interfaces ?? []) {
      const parsed = parseIpv4(address);
      if (parsed !== undefined) addresses.add(parsed);
    }
  }
  return addresses;
}
