import type { ByteString } from "../byte-string.ts";
import { show } from "../byte-string.ts";
import { damaged } from "../invalid.ts";

/** Records of a PAX header: key to value, both as bytes; values of xattrs are binary. */
export type PaxRecords = Map<ByteString, Buffer>;

/**
 * Decodes the body of a PAX extended header: records `"<length> <key>=<value>\n"`, the length in decimal counting
 * the whole record (POSIX.1-2017 pax(1)). Values are copied.
 * @throws KilnError `IMAGE_INVALID` for anything else.
 */
export function decodePaxRecords(body: Buffer): PaxRecords {
  const records: PaxRecords = new Map();
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    const digits = space === -1 || space - at > 10 ? "" : body.toString("latin1", at, space);
    if (!/^[0-9]+$/.test(digits)) throw damaged("malformed PAX header in the tar: no record length");
    const end = at + Number.parseInt(digits, 10);
    if (end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) {
      throw damaged("malformed PAX header in the tar: a record of the wrong length");
    }
    const equals = body.indexOf(0x3d, space + 1);
    if (equals === -1 || equals >= end)
      throw damaged("malformed PAX header in the tar: a record without '='");
    const key = body.toString("latin1", space + 1, equals);
    if (key === "" || key.includes("\0")) throw damaged(`malformed PAX header in the tar: key ${show(key)}`);
    records.set(key, Buffer.from(body.subarray(equals + 1, end - 1)));
    at = end;
  }
  return records;
}

/** A decimal integer record. */
export function paxInteger(key: string, value: Buffer): number {
  const digits = value.toString("latin1");
  const parsed = /^[0-9]{1,16}$/.test(digits) ? Number.parseInt(digits, 10) : Number.NaN;
  if (!Number.isSafeInteger(parsed)) throw damaged(`malformed PAX header in the tar: ${key}=${show(digits)}`);
  return parsed;
}

/** A time record, `"-12.5"`: whole seconds rounded down, and the nanoseconds above them. */
export function paxTime(key: string, value: Buffer): { seconds: number; nanoseconds: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value.toString("latin1"));
  if (match === null)
    throw damaged(`malformed PAX header in the tar: ${key}=${show(value.toString("latin1"))}`);
  const [, sign, whole = "0", decimals = ""] = match;
  const seconds = Number.parseInt(whole, 10);
  const nanoseconds = Number.parseInt(decimals.slice(0, 9).padEnd(9, "0"), 10);
  if (sign !== "-") return { seconds, nanoseconds };
  if (nanoseconds === 0) return { seconds: seconds === 0 ? 0 : -seconds, nanoseconds: 0 };
  return { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
