import type { ByteString } from "../byte-string.ts";
import { damaged } from "../invalid.ts";

export const TAR_BLOCK = 512;

/**
 * The 512-byte header before every member, POSIX.1-2017 pax(1) "ustar Interchange Format", with GNU's base-256 numbers:
 *
 *     0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1
 *     157 linkname 100 | 257 magic 6 | 263 version 2 | 265 uname 32 | 297 gname 32 | 329 major 8 | 337 minor 8
 *     345 prefix 155
 */
export interface UstarHeader {
  readonly typeFlag: string;
  readonly path: ByteString;
  readonly linkPath: ByteString;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/**
 * Decodes one header block of 512 bytes.
 * @throws KilnError `IMAGE_INVALID` when the checksum is wrong or a number cannot be read.
 */
export function decodeUstarHeader(block: Buffer, position: number): UstarHeader {
  const where = `in the tar header at byte ${position}`;
  const stored = number(block, 148, 8, "checksum", where);
  if (stored !== checksum(block)) throw damaged(`wrong checksum ${where}: the archive is damaged`);

  const isPosix = block.toString("latin1", 257, 263) === "ustar\0";
  const name = text(block, 0, 100);
  // GNU's own format keeps other things where POSIX has the prefix, and pre-POSIX archives keep nothing.
  const prefix = isPosix ? text(block, 345, 155) : "";
  return {
    typeFlag: String.fromCharCode(block[156] ?? 0),
    path: prefix === "" ? name : `${prefix}/${name}`,
    linkPath: text(block, 157, 100),
    mode: number(block, 100, 8, "mode", where),
    uid: number(block, 108, 8, "uid", where),
    gid: number(block, 116, 8, "gid", where),
    size: number(block, 124, 12, "size", where),
    mtime: number(block, 136, 12, "mtime", where),
    deviceMajor: number(block, 329, 8, "major", where),
    deviceMinor: number(block, 337, 8, "minor", where),
  };
}

function checksum(block: Buffer): number {
  let sum = 8 * 0x20; // The checksum's own field counts as spaces.
  for (let i = 0; i < 148; i++) sum += block[i] ?? 0;
  for (let i = 156; i < TAR_BLOCK; i++) sum += block[i] ?? 0;
  return sum;
}

function text(block: Buffer, start: number, length: number): ByteString {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end === -1 ? length : end);
}

function number(block: Buffer, start: number, length: number, field: string, where: string): number {
  const first = block[start] ?? 0;
  const value = first & 0x80 ? base256(block.subarray(start, start + length)) : octal(block, start, length);
  if (value === undefined || !Number.isSafeInteger(value)) throw damaged(`unreadable ${field} ${where}`);
  return value;
}

function octal(block: Buffer, start: number, length: number): number | undefined {
  const field = block.toString("latin1", start, start + length);
  // Digits, with spaces before and spaces or NULs behind; whatever follows the first NUL does not count.
  const match = /^ *([0-7]*)(?:[ \0].*)?$/s.exec(field);
  if (match === null) return undefined;
  return match[1] ? Number.parseInt(match[1], 8) : 0;
}

/** Two's complement, big-endian, the topmost bit being only a marker. */
function base256(field: Buffer): number | undefined {
  const negative = ((field[0] ?? 0) & 0x40) !== 0;
  let value = 0n;
  for (const [index, byte] of field.entries())
    value = (value << 8n) | BigInt(index === 0 ? byte & 0x7f : byte);
  if (negative) value -= 1n << BigInt(field.length * 8 - 1);
  const result = Number(value);
  return Number.isSafeInteger(result) ? result : undefined;
}
