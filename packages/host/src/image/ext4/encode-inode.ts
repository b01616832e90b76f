import type { InodeAttributes } from "../inode.ts";
import { INODE_SIZE } from "./layout.ts";

/** `i_extra_isize`: the inode's fields end at 128 + 32; xattrs follow. */
export const EXTRA_ISIZE = 32;
const SECTORS_PER_BLOCK = 8;

export const EXTENTS_FLAG = 0x80000;
export const INDEX_FLAG = 0x1000;

/** What is stored of an inode, as `struct ext4_inode` has it. */
export interface InodeRecord {
  readonly attributes: InodeAttributes;
  /** The type's bits of `i_mode`. */
  readonly modeBits: number;
  readonly links: number;
  readonly size: number;
  readonly flags: number;
  /** Blocks of 4 KiB that belong to it, whatever they hold. */
  readonly blocks: number;
  /** Content of `i_block`, up to 60 bytes. */
  readonly iBlock: Buffer;
  /** The block with its xattrs, 0 for none. */
  readonly xattrBlock: number;
  /** What follows the fields: xattrs within the inode, up to 96 bytes. */
  readonly inlineXattrs: Buffer | undefined;
}

/** Writes one inode of 256 bytes into `table` at `at`. */
export function encodeInode(table: Buffer, at: number, record: InodeRecord): void {
  const { attributes } = record;
  const time = encodeTime(attributes.mtimeSeconds, attributes.mtimeNanoseconds);
  const u16 = (value: number, offset: number) => table.writeUInt16LE(value, at + offset);
  const u32 = (value: number, offset: number) => table.writeUInt32LE(value, at + offset);
  table.fill(0, at, at + INODE_SIZE);
  u16(record.modeBits | attributes.mode, 0x00);
  u16(attributes.uid & 0xffff, 0x02);
  u32(record.size % 2 ** 32, 0x04);
  u32(time.seconds, 0x08); // atime
  u32(time.seconds, 0x0c); // ctime
  u32(time.seconds, 0x10); // mtime
  u16(attributes.gid & 0xffff, 0x18);
  u16(record.links, 0x1a);
  u32(record.blocks * SECTORS_PER_BLOCK, 0x1c);
  u32(record.flags, 0x20);
  record.iBlock.copy(table, at + 0x28);
  u32(record.xattrBlock, 0x68);
  u32(Math.floor(record.size / 2 ** 32), 0x6c);
  u16(attributes.uid >>> 16, 0x78);
  u16(attributes.gid >>> 16, 0x7a);
  u16(EXTRA_ISIZE, 0x80);
  u32(time.extra, 0x84); // ctime
  u32(time.extra, 0x88); // mtime
  u32(time.extra, 0x8c); // atime
  u32(time.seconds, 0x90); // crtime
  u32(time.extra, 0x94);
  record.inlineXattrs?.copy(table, at + 128 + EXTRA_ISIZE);
}

const MIN_SECONDS = -(2 ** 31);
const MAX_SECONDS = 2 ** 34 + MIN_SECONDS - 1;

/**
 * Seconds as a signed 32-bit field, and the field beside it: two bits that count how often 2^32 is to be added, and
 * 30 bits of nanoseconds. Times that do not fit (before 1901, after 2446) become the nearest that does, as the kernel
 * does it.
 */
export function encodeTime(seconds: number, nanoseconds: number): { seconds: number; extra: number } {
  const fits = seconds >= MIN_SECONDS && seconds <= MAX_SECONDS;
  const clamped = Math.min(Math.max(seconds, MIN_SECONDS), MAX_SECONDS);
  const epoch = Math.floor((clamped - MIN_SECONDS) / 2 ** 32);
  return { seconds: (clamped - epoch * 2 ** 32) >>> 0, extra: ((fits ? nanoseconds : 0) * 4 + epoch) >>> 0 };
}

/** `i_block` of a device: the old 8:8 form where the numbers fit it, else the new 12:20 one in the second word. */
export function encodeDevice(major: number, minor: number): Buffer {
  const words = Buffer.alloc(8);
  if (major < 256 && minor < 256) words.writeUInt32LE((major << 8) | minor, 0);
  else words.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, 4);
  return words;
}
