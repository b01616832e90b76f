import type { BlockWriter } from "../block-writer.ts";
import type { Extent } from "../inode.ts";
import { crc16 } from "./crc16.ts";
import { BLOCK_SIZE, BLOCKS_PER_GROUP, type Ext4Layout, GROUP_DESCRIPTOR_SIZE } from "./layout.ts";
import { type Ext4Identity, encodeSuperblock, SUPERBLOCK_OFFSET } from "./superblock.ts";

const CHECKSUM_OFFSET = 0x1e;

/** Flags of a group: nothing in its inode table or block bitmap needs to be read; its inode table is all zero. */
const INODE_UNINIT = 1;
const BLOCK_UNINIT = 2;
const INODE_ZEROED = 4;

/** What of the disk is taken. */
export interface DiskUsage {
  /** Every block below this is taken, but for `released`. */
  readonly nextBlock: number;
  readonly released: readonly Extent[];
  /** Inodes 1 to this are taken, but for `freeInodes`. */
  readonly lastInode: number;
  readonly freeInodes: readonly number[];
  /** Directories by group. */
  readonly directories: readonly number[];
}

/** Writes the superblock, the group descriptors and the bitmaps: everything in front of the inode tables. */
export async function writeGroups(
  writer: BlockWriter,
  layout: Ext4Layout,
  identity: Ext4Identity,
  usage: DiskUsage,
): Promise<void> {
  const front = Buffer.alloc(layout.blockBitmaps * BLOCK_SIZE);
  const bitmaps: (Buffer | undefined)[] = [];
  let freeBlocks = 0;
  for (let group = 0; group < layout.groups; group++) {
    const bitmap = blockBitmap(layout, usage, group);
    bitmaps.push(bitmap.bytes);
    freeBlocks += bitmap.free;
    encodeDescriptor(front, group, layout, identity, usage, bitmap);
  }
  encodeSuperblock(layout, identity, {
    blocks: freeBlocks,
    inodes: layout.inodes - usage.lastInode + usage.freeInodes.length,
  }).copy(front, SUPERBLOCK_OFFSET);

  for (let block = 0; block < layout.blockBitmaps; block++) {
    writer.addUnlessZero(block, front.subarray(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE));
  }
  for (const [group, bitmap] of bitmaps.entries()) {
    if (bitmap !== undefined) writer.addUnlessZero(layout.blockBitmaps + group, bitmap);
    await writer.drain();
  }
  for (let group = 0; group * layout.inodesPerGroup < usage.lastInode; group++) {
    writer.addUnlessZero(layout.inodeBitmaps + group, inodeBitmap(layout, usage, group));
    await writer.drain();
  }
}

function encodeDescriptor(
  front: Buffer,
  group: number,
  layout: Ext4Layout,
  identity: Ext4Identity,
  usage: DiskUsage,
  bitmap: { bytes: Buffer | undefined; free: number },
): void {
  const at = BLOCK_SIZE + group * GROUP_DESCRIPTOR_SIZE;
  const usedInodes = inodesUsed(layout, usage, group);
  const unusedInodes = layout.inodesPerGroup - usedInodes;
  const flags =
    INODE_ZEROED | (usedInodes === 0 ? INODE_UNINIT : 0) | (bitmap.bytes === undefined ? BLOCK_UNINIT : 0);
  front.writeUInt32LE(layout.blockBitmaps + group, at);
  front.writeUInt32LE(layout.inodeBitmaps + group, at + 0x04);
  front.writeUInt32LE(layout.inodeTables + group * layout.inodeTableBlocks, at + 0x08);
  front.writeUInt16LE(bitmap.free, at + 0x0c);
  front.writeUInt16LE(unusedInodes + freeInodes(layout, usage, group).length, at + 0x0e);
  front.writeUInt16LE(usage.directories[group] ?? 0, at + 0x10);
  front.writeUInt16LE(flags, at + 0x12);
  front.writeUInt16LE(unusedInodes, at + 0x1c); // At the table's end, never used.
  const number = Buffer.alloc(4);
  number.writeUInt32LE(group, 0);
  const sealed = Buffer.concat([identity.uuid, number, front.subarray(at, at + CHECKSUM_OFFSET)]);
  front.writeUInt16LE(crc16(0xffff, sealed), at + CHECKSUM_OFFSET);
}

function inodesUsed(layout: Ext4Layout, usage: DiskUsage, group: number): number {
  return Math.min(Math.max(usage.lastInode - group * layout.inodesPerGroup, 0), layout.inodesPerGroup);
}

/** Positions in the group's inode bitmap that are free below the last one in use. */
function freeInodes(layout: Ext4Layout, usage: DiskUsage, group: number): number[] {
  const first = group * layout.inodesPerGroup;
  return usage.freeInodes
    .map((number) => number - 1 - first)
    .filter((position) => position >= 0 && position < layout.inodesPerGroup);
}

/**
 * One bit for each of the group's blocks. A group that is all free has none: the kernel makes it up. The last
 * group always has one, because it may be shorter than its bitmap.
 */
function blockBitmap(
  layout: Ext4Layout,
  usage: DiskUsage,
  group: number,
): { bytes: Buffer | undefined; free: number } {
  const first = group * BLOCKS_PER_GROUP;
  const size = Math.min(BLOCKS_PER_GROUP, layout.blocks - first);
  const used = Math.min(Math.max(usage.nextBlock - first, 0), size);
  if (used === 0 && group < layout.groups - 1) return { bytes: undefined, free: size };
  const bytes = Buffer.alloc(BLOCK_SIZE);
  setBits(bytes, 0, used);
  setBits(bytes, size, BLOCKS_PER_GROUP);
  let free = size - used;
  for (const { start, count } of usage.released) {
    const from = Math.max(start - first, 0);
    const to = Math.min(start + count - first, used);
    for (let bit = from; bit < to; bit++) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(1 << (bit & 7));
    free += Math.max(to - from, 0);
  }
  return { bytes, free };
}

/** One bit for each of the group's inodes, and ones from there to the end. */
function inodeBitmap(layout: Ext4Layout, usage: DiskUsage, group: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_SIZE);
  setBits(bytes, 0, inodesUsed(layout, usage, group));
  for (const bit of freeInodes(layout, usage, group))
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(1 << (bit & 7));
  setBits(bytes, layout.inodesPerGroup, BLOCK_SIZE * 8);
  return bytes;
}

/** Sets the bits from `from` to before `to`. */
function setBits(bytes: Buffer, from: number, to: number): void {
  let bit = from;
  while (bit < to && (bit & 7) !== 0) setBit(bytes, bit++);
  const wholeEnd = Math.max(bit, to & ~7);
  bytes.fill(0xff, bit >> 3, wholeEnd >> 3);
  for (bit = wholeEnd; bit < to; bit++) setBit(bytes, bit);
}

function setBit(bytes: Buffer, bit: number): void {
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7));
}
