/** An IPv4 address as an unsigned 32-bit number, in host order. */
export type Ipv4 = number;

/** Addresses that begin with the same `prefix` bits. */
export interface Range {
  base: Ipv4;
  prefix: number;
}

/** Strictly four decimal numbers: what else inet_aton takes ("127.1", "0x7f.0.0.1", "010.0.0.1") is nobody's spelling. */
export function parseIpv4(text: string): Ipv4 | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  let address = 0;
  for (const part of match.slice(1)) {
    const value = Number(part);
    if (value > 255 || String(value) !== part) return undefined;
    address = address * 256 + value;
  }
  return address;
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Bits of an address that `prefix` says nothing about. */
export const hostBits = (address: Ipv4, prefix: number): number =>
  prefix === 0 ? address : (address & (2 ** (32 - prefix) - 1)) >>> 0;

export const inRange = (address: Ipv4, { base, prefix }: Range): boolean =>
  address - hostBits(address, prefix) === base;

function range(text: string): Range {
  const [address = "", prefix] = text.split("/");
  const base = parseIpv4(address);
  if (base === undefined) throw new Error(`not a range: ${text}`);
  return { base, prefix: Number(prefix) };
}

/** The guest's link: the same for every sandbox, which has it for itself. */
export const LINK: Range = range("10.0.2.0/24");
export const GUEST: Ipv4 = LINK.base + 15;
export const GATEWAY: Ipv4 = LINK.base + 2;
export const NAME_SERVER: Ipv4 = LINK.base + 3;

/** Nobody's addresses, which no packet may have for its destination, whatever a policy says. */
const NOWHERE = ["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"].map(range);
/** The host itself, its link, and the metadata services of clouds: only to be reached when named one by one. */
const HOST = ["127.0.0.0/8", "169.254.0.0/16"].map(range);
/** Networks that are not the internet: RFC 1918, carriers (RFC 6598), IETF protocols (RFC 6890), benchmarks (RFC 2544). */
const PRIVATE = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
].map(range);

/** What an address is, from the outside in. `nowhere` includes the guest's own link. */
export type AddressClass = "public" | "private" | "host" | "nowhere";

/** By the number alone: whether a public address is one of this host's own is for its caller to know. */
export function classify(address: Ipv4): AddressClass {
  const within = (ranges: readonly Range[]) => ranges.some((one) => inRange(address, one));
  if (within(NOWHERE) || inRange(address, LINK)) return "nowhere";
  if (within(HOST)) return "host";
  return within(PRIVATE) ? "private" : "public";
}
