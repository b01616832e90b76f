/**
 * The part of Linux's FUSE protocol (include/uapi/linux/fuse.h, version 7.31) that files to be read and mapped need.
 * Numbers are the host's, little-endian.
 */
export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  OPEN: 14,
  READ: 15,
  STATFS: 17,
  RELEASE: 18,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  ACCESS: 34,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
} as const;

/** Code of what is said without being asked: pages of a file, for the page cache. */
const NOTIFY_STORE = 4;
const STORE_OUT = 24;

export const Errno = { ENOENT: 2, EIO: 5, EROFS: 30, ENOSYS: 38 } as const;

export const ROOT = 1;
const IN_HEADER = 40;
const OUT_HEADER = 16;
const ATTR_SIZE = 88;
const VERSION = { major: 7, minor: 31 };
const INIT_OUT = 64;
const ASYNC_READ = 1 << 0;
const PARALLEL_DIROPS = 1 << 18;
/** What one read may ask for beyond the page that is missing, in bytes. Most of what a guest touches is scattered. */
const MAX_READAHEAD = 16 * 1024;
const MAX_WRITE = 4096;
const MAX_BACKGROUND = 64;
/** Pages that were read stay in the page cache, for all that map the file. */
const FOPEN_KEEP_CACHE = 1 << 1;
/** Names and sizes never change, in seconds. */
const VALID_S = 86_400n;

/** Largest request: a header and the little that is ever written here. The kernel wants no less. */
export const REQUEST_BYTES = 64 * 1024;

export interface Request {
  opcode: number;
  unique: bigint;
  node: number;
  body: Buffer;
}

export function decodeRequest(bytes: Buffer): Request {
  return {
    opcode: bytes.readUInt32LE(4),
    unique: bytes.readBigUInt64LE(8),
    node: Number(bytes.readBigUInt64LE(16)),
    body: bytes.subarray(IN_HEADER),
  };
}

export function encodeReply(unique: bigint, body: Buffer | undefined, error = 0): Buffer {
  const header = Buffer.alloc(OUT_HEADER);
  header.writeUInt32LE(OUT_HEADER + (body?.length ?? 0), 0);
  header.writeInt32LE(-error, 4);
  header.writeBigUInt64LE(unique, 8);
  return body === undefined ? header : Buffer.concat([header, body]);
}

export function initReply(): Buffer {
  const body = Buffer.alloc(INIT_OUT);
  body.writeUInt32LE(VERSION.major, 0);
  body.writeUInt32LE(VERSION.minor, 4);
  body.writeUInt32LE(MAX_READAHEAD, 8);
  body.writeUInt32LE(ASYNC_READ | PARALLEL_DIROPS, 12);
  body.writeUInt16LE(MAX_BACKGROUND, 16);
  body.writeUInt16LE((MAX_BACKGROUND * 3) / 4, 18);
  body.writeUInt32LE(MAX_WRITE, 20);
  body.writeUInt32LE(1, 24);
  return body;
}

/** `content` for the page cache of the file `node` from `offset` on; whole pages, or up to the file's end. */
export function encodeStore(node: number, offset: number, content: Uint8Array): Buffer {
  const head = Buffer.alloc(OUT_HEADER + STORE_OUT);
  head.writeUInt32LE(head.length + content.length, 0);
  head.writeInt32LE(NOTIFY_STORE, 4);
  head.writeBigUInt64LE(BigInt(node), OUT_HEADER);
  head.writeBigUInt64LE(BigInt(offset), OUT_HEADER + 8);
  head.writeUInt32LE(content.length, OUT_HEADER + 16);
  return Buffer.concat([head, content]);
}

function putAttributes(body: Buffer, at: number, node: number, sizeBytes: number | undefined): void {
  body.writeBigUInt64LE(BigInt(node), at);
  body.writeBigUInt64LE(BigInt(sizeBytes ?? 0), at + 8);
  body.writeBigUInt64LE(BigInt(Math.ceil((sizeBytes ?? 0) / 512)), at + 16);
  // QEMU before 8.2 opens the memory that it maps privately for writing, as a user of its own.
  body.writeUInt32LE(sizeBytes === undefined ? 0o040_711 : 0o100_666, at + 60);
  body.writeUInt32LE(1, at + 64);
  body.writeUInt32LE(4096, at + 80);
}

/** `sizeBytes`: undefined for the folder. */
export function entryReply(node: number, sizeBytes: number | undefined): Buffer {
  const body = Buffer.alloc(40 + ATTR_SIZE);
  body.writeBigUInt64LE(BigInt(node), 0);
  body.writeBigUInt64LE(VALID_S, 16);
  body.writeBigUInt64LE(VALID_S, 24);
  putAttributes(body, 40, node, sizeBytes);
  return body;
}

export function attributesReply(node: number, sizeBytes: number | undefined): Buffer {
  const body = Buffer.alloc(16 + ATTR_SIZE);
  body.writeBigUInt64LE(VALID_S, 0);
  putAttributes(body, 16, node, sizeBytes);
  return body;
}

export function openReply(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(FOPEN_KEEP_CACHE, 8);
  return body;
}

export const statfsReply = (): Buffer => Buffer.alloc(80);

export const readArguments = (body: Buffer): { offset: number; length: number } => ({
  offset: Number(body.readBigUInt64LE(8)),
  length: body.readUInt32LE(16),
});

/** The name that a LOOKUP is about. */
export const nameOf = (body: Buffer): string => body.toString("utf8", 0, Math.max(0, body.indexOf(0)));
