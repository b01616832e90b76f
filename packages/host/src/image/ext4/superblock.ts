import { createHash } from "node:crypto";
import { EXTRA_ISIZE } from "./encode-inode.ts";
import { HASH_VERSION_HALF_MD4 } from "./hash-tree-directory.ts";
import { BLOCKS_PER_GROUP, type Ext4Layout, INODE_SIZE } from "./layout.ts";

export const ROOT_INODE = 2;
export const LOST_AND_FOUND_INODE = 11;
export const FIRST_FREE_INODE = 11;
/** Where the superblock is in block 0, and its size. */
export const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_SIZE = 1024;

const COMPAT = { extAttr: 0x8, dirIndex: 0x20, sparseSuper2: 0x200 };
const INCOMPAT = { filetype: 0x2, extents: 0x40, flexBg: 0x200 };
const RO_COMPAT = { largeFile: 0x2, hugeFile: 0x8, gdtCsum: 0x10, dirNlink: 0x20, extraIsize: 0x40 };

/** What makes one file system differ from another that has the same files. */
export interface Ext4Identity {
  /** 16 bytes. */
  readonly uuid: Buffer;
  /** Four 32-bit words, not all zero. */
  readonly hashSeed: readonly number[];
  /** Volume label, up to 16 bytes. */
  readonly label: Buffer;
}

/** A UUID (version 8, RFC 9562) and a hash seed made from `seed`. */
export function ext4Identity(seed: string, label: Buffer): Ext4Identity {
  const digest = createHash("sha256").update(`kiln ext4 identity\0${seed}`).digest();
  const uuid = digest.subarray(0, 16);
  uuid.writeUInt8(((uuid[6] ?? 0) & 0x0f) | 0x80, 6);
  uuid.writeUInt8(((uuid[8] ?? 0) & 0x3f) | 0x80, 8);
  const hashSeed: number[] = [16, 20, 24, 28].map((at) => digest.readUInt32LE(at));
  if (!hashSeed.some((word) => word !== 0)) hashSeed[0] = 1; // All zero would mean "the default seed".
  return { uuid, hashSeed, label };
}

/**
 * Encodes the superblock (kernel documentation, "Super Block"), 1024 bytes. Times are 0: they say nothing about a file
 * system that is made anew from its description whenever it is wanted.
 */
export function encodeSuperblock(
  layout: Ext4Layout,
  identity: Ext4Identity,
  free: { blocks: number; inodes: number },
): Buffer {
  const sb = Buffer.alloc(SUPERBLOCK_SIZE);
  sb.writeUInt32LE(layout.inodes, 0x00);
  sb.writeUInt32LE(layout.blocks, 0x04);
  sb.writeUInt32LE(free.blocks, 0x0c);
  sb.writeUInt32LE(free.inodes, 0x10);
  sb.writeUInt32LE(2, 0x18); // Block size: 2^(10 + 2).
  sb.writeUInt32LE(2, 0x1c); // Cluster size, the same.
  sb.writeUInt32LE(BLOCKS_PER_GROUP, 0x20);
  sb.writeUInt32LE(BLOCKS_PER_GROUP, 0x24); // Clusters, the same.
  sb.writeUInt32LE(layout.inodesPerGroup, 0x28);
  sb.writeUInt16LE(0xffff, 0x36); // No check after so many mounts.
  sb.writeUInt16LE(0xef53, 0x38);
  sb.writeUInt16LE(1, 0x3a); // Cleanly unmounted.
  sb.writeUInt16LE(2, 0x3c); // On an error: read-only, rather than going on over it.
  sb.writeUInt32LE(1, 0x4c); // Revision: dynamic inode sizes.
  sb.writeUInt32LE(FIRST_FREE_INODE, 0x54);
  sb.writeUInt16LE(INODE_SIZE, 0x58);
  sb.writeUInt32LE(COMPAT.extAttr | COMPAT.dirIndex | COMPAT.sparseSuper2, 0x5c);
  sb.writeUInt32LE(INCOMPAT.filetype | INCOMPAT.extents | INCOMPAT.flexBg, 0x60);
  const { largeFile, hugeFile, gdtCsum, dirNlink, extraIsize } = RO_COMPAT;
  sb.writeUInt32LE(largeFile | hugeFile | gdtCsum | dirNlink | extraIsize, 0x64);
  identity.uuid.copy(sb, 0x68);
  identity.label.copy(sb, 0x78);
  for (const [index, word] of identity.hashSeed.entries()) sb.writeUInt32LE(word, 0xec + index * 4);
  sb.writeUInt8(HASH_VERSION_HALF_MD4, 0xfc);
  sb.writeUInt16LE(0x0c, 0x100); // Mount with user xattrs and POSIX ACLs.
  sb.writeUInt16LE(EXTRA_ISIZE, 0x15c);
  sb.writeUInt16LE(EXTRA_ISIZE, 0x15e);
  sb.writeUInt32LE(2, 0x160); // Directory hashes take characters as unsigned.
  sb.writeUInt8(4, 0x174); // 2^4 groups count as one when the guest places files.
  sb.writeUInt32LE(layout.firstDataBlock, 0x248); // Overhead: all that is before the data.
  sb.writeUInt32LE(LOST_AND_FOUND_INODE, 0x268);
  return sb;
}
