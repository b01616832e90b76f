import type { ByteString } from "../byte-string.ts";
import { BLOCK_SIZE } from "./layout.ts";

const HEADER_SIZE = 8;
const DIRECTORY_TYPE = 2;

/** One name in a directory. */
export interface DirectoryEntry {
  readonly name: ByteString;
  readonly inode: number;
  /** The type's number in directory entries. */
  readonly type: number;
}

/** Bytes an entry takes: header and name, rounded up to four. */
export function entrySize(name: ByteString): number {
  return (HEADER_SIZE + name.length + 3) & ~3;
}

/** `.` and `..`, which every directory begins with. */
export function dotEntries(inode: number, parent: number): DirectoryEntry[] {
  return [
    { name: ".", inode, type: DIRECTORY_TYPE },
    { name: "..", inode: parent, type: DIRECTORY_TYPE },
  ];
}

/** Whether all of `entries` fit one block. */
export function fitsOneBlock(entries: readonly DirectoryEntry[]): boolean {
  let size = 0;
  for (const { name } of entries) {
    size += entrySize(name);
    if (size > BLOCK_SIZE) return false;
  }
  return true;
}

/** A block of entries that fit it; the last one reaches to the block's end. */
export function encodeEntries(entries: readonly DirectoryEntry[]): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  let at = 0;
  for (const [index, entry] of entries.entries()) {
    const size = index === entries.length - 1 ? BLOCK_SIZE - at : entrySize(entry.name);
    at = encodeEntry(block, at, entry, size);
  }
  return block;
}

/** One entry of `size` bytes at `at`; returns where the next one goes. */
export function encodeEntry(block: Buffer, at: number, entry: DirectoryEntry, size: number): number {
  block.writeUInt32LE(entry.inode, at);
  block.writeUInt16LE(size, at + 4);
  block.writeUInt8(entry.name.length, at + 6);
  block.writeUInt8(entry.type, at + 7);
  block.write(entry.name, at + HEADER_SIZE, "latin1");
  return at + size;
}
