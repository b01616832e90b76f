import { domainToASCII } from "node:url";
import { classify, hostBits, type Ipv4, LINK, parseIpv4, type Range } from "../address.ts";

/** An entry of an allow list. Without a port it is for all of them. */
export type Entry = NameEntry | RangeEntry;

export interface NameEntry {
  kind: "name";
  /** In lower case, without a final dot. */
  name: string;
  /** All names below it, and not itself. */
  wildcard: boolean;
  port: number | undefined;
}

export interface RangeEntry {
  kind: "range";
  range: Range;
  port: number | undefined;
}

/** The address under which a sandbox reaches what its host listens on at 127.0.0.1, where an entry names that. */
export const HOST_LOOPBACK: Ipv4 = 0x7f000001;

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;

/** A host name as it is compared: lower case, ASCII, no final dot; undefined when it is none. */
export function normalizeName(text: string): string | undefined {
  const name = text.toLowerCase().replace(/\.$/, "");
  return name.length <= 253 && name.split(".").every((label) => LABEL.test(label)) ? name : undefined;
}

/** The entry, or what is wrong with it in a sentence that names it. */
export function parseEntry(text: string): Entry | string {
  const quoted = JSON.stringify(text);
  const [host = "", portText, ...more] = text.split(":");
  if (more.length > 0)
    return `${quoted} is neither a name nor an IPv4 address: there is no IPv6 in a sandbox`;
  if (/[/]{2}|@/.test(text) || portText?.includes("/"))
    return `${quoted} must be a host name or an address, not a URL`;
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && !(/^\d{1,5}$/.test(portText ?? "") && port >= 1 && port <= 65535))
    return `${quoted} has no port between 1 and 65535 after its colon`;
  return /^[\d./]+$/.test(host) ? parseRange(quoted, host, port) : parseName(quoted, host, port);
}

function parseName(quoted: string, host: string, port: number | undefined): NameEntry | string {
  const wildcard = host.startsWith("*.");
  const written = wildcard ? host.slice(2) : host;
  if (written.includes("*")) return `${quoted} may have one star, in front: "*.example.com"`;
  // International names are compared as they are asked for.
  const ascii = /[^\x20-\x7e]/.test(written) ? domainToASCII(written) : written;
  const name = normalizeName(ascii);
  return name === undefined ? `${quoted} is not a host name` : { kind: "name", name, wildcard, port };
}

function parseRange(quoted: string, host: string, port: number | undefined): RangeEntry | string {
  const [address = "", prefixText, ...more] = host.split("/");
  const base = parseIpv4(address);
  if (base === undefined || more.length > 0) return `${quoted} is not an IPv4 address`;
  const prefix = prefixText === undefined ? 32 : Number(prefixText);
  if (prefixText !== undefined && !/^([89]|[12]\d|3[0-2])$/.test(prefixText))
    return `${quoted} must have 8 to 32 after its slash`;
  if (hostBits(base, prefix) !== 0) return `${quoted} does not begin where a range of that size can`;
  if (prefix > LINK.prefix && classify(base) === "nowhere") return `${quoted} cannot be reached by anybody`;
  if (prefix === 32 && base >>> 24 === 127 && base !== HOST_LOOPBACK)
    return `${quoted} must be 127.0.0.1, which the sandbox reaches at 10.0.2.2`;
  return { kind: "range", range: { base, prefix }, port };
}
