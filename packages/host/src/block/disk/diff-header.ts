import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { KilnError } from "../../errors.ts";
import { BLOCK_SIZE, MAX_DEVICE_SIZE } from "./geometry.ts";

/** Bytes in front of the map proper: one page, so that the map's pages and the header's are never torn together. */
export const HEADER_SIZE = 4096;

const MAGIC = "KILNDIFF";
const VERSION = 1;
const CHECKED_SIZE = 60;
const FLAG_SEALED = 1;

/** The identity that stands for "no parent": the diff lies directly on the base image. */
export const NO_PARENT = "0".repeat(32);

export interface DiffHeader {
  /** Size of the device, in bytes. */
  sizeBytes: number;
  /** Random, 32 hex digits: names this diff for as long as it exists. */
  identity: string;
  /** Identity of the diff directly below, or `NO_PARENT`. */
  parent: string;
  /** A sealed diff never changes again and may be a layer below others. */
  sealed: boolean;
}

export function newIdentity(): string {
  return randomBytes(16).toString("hex");
}

/**
 *      0        8        12       16       24        40       56       60       64      4096
 *      ┌────────┬────────┬────────┬────────┬─────────┬────────┬────────┬────────┬───────┐
 *      │KILNDIFF│ version│  block │ device │ identity│ parent │  flags │ crc32  │ zeros │  little-endian
 *      │        │  = 1   │  size  │  size  │         │        │        │ of 0…59│       │
 *      └────────┴────────┴────────┴────────┴─────────┴────────┴────────┴────────┴───────┘
 */
export function encodeHeader(header: DiffHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(BLOCK_SIZE, 12);
  bytes.writeBigUInt64LE(BigInt(header.sizeBytes), 16);
  bytes.write(header.identity, 24, "hex");
  bytes.write(header.parent, 40, "hex");
  bytes.writeUInt32LE(header.sealed ? FLAG_SEALED : 0, 56);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CHECKED_SIZE)), 60);
  return bytes;
}

/** @throws KilnError `IMAGE_INVALID` naming `path` when the bytes are no header, or one of another version. */
export function decodeHeader(bytes: Buffer, path: string): DiffHeader {
  const refuse = (what: string, hint: string) => new KilnError("IMAGE_INVALID", `${path}: ${what}`, { hint });
  const damaged =
    "the file is damaged or not one of Kiln's; remove the folder it is in and start from its template";
  if (bytes.length < HEADER_SIZE || bytes.toString("latin1", 0, 8) !== MAGIC) {
    throw refuse("not a disk diff", damaged);
  }
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) {
    throw refuse(
      `disk diff of version ${version}, this Kiln reads version ${VERSION}`,
      "use the Kiln that made it",
    );
  }
  if (bytes.readUInt32LE(60) !== crc32(bytes.subarray(0, CHECKED_SIZE))) throw refuse("torn header", damaged);
  const blockSize = bytes.readUInt32LE(12);
  const sizeBytes = Number(bytes.readBigUInt64LE(16));
  const flags = bytes.readUInt32LE(56);
  if (
    blockSize !== BLOCK_SIZE ||
    sizeBytes <= 0 ||
    sizeBytes > MAX_DEVICE_SIZE ||
    sizeBytes % BLOCK_SIZE !== 0
  ) {
    throw refuse(`impossible geometry (${sizeBytes} bytes in blocks of ${blockSize})`, damaged);
  }
  if ((flags & ~FLAG_SEALED) !== 0)
    throw refuse(`unknown flags 0x${flags.toString(16)}`, "use the Kiln that made it");
  return {
    sizeBytes,
    identity: bytes.toString("hex", 24, 40),
    parent: bytes.toString("hex", 40, 56),
    sealed: (flags & FLAG_SEALED) !== 0,
  };
}
