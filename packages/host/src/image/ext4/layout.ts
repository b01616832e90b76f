import { KilnError } from "../../errors.ts";

/** Bytes of one block: the guest's page size, and the unit of everything on the disk. */
export const BLOCK_SIZE = 4096;
export const INODE_SIZE = 256;
export const INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE;
/** As many as one bitmap block has bits. */
export const BLOCKS_PER_GROUP = BLOCK_SIZE * 8;
export const GROUP_DESCRIPTOR_SIZE = 32;

export const MIN_IMAGE_BYTES = 64 * 1024 ** 2;
export const MAX_IMAGE_BYTES = 1024 ** 4;

/** Bytes of disk for each inode, mke2fs's default: enough for a guest that unpacks many small files. */
const BYTES_PER_INODE = 16 * 1024;

/**
 * Where things are on a disk of a given size. All metadata of all groups is in front (flex_bg allows it), without
 * backup copies, so that the rest is one run of data blocks:
 *
 *     | superblock + group descriptors | block bitmaps | inode bitmaps | inode tables | data …
 *     0                                  blockBitmaps    inodeBitmaps    inodeTables    firstDataBlock
 */
export interface Ext4Layout {
  readonly sizeBytes: number;
  readonly blocks: number;
  readonly groups: number;
  readonly inodesPerGroup: number;
  readonly inodes: number;
  /** Blocks of one group's inode table. */
  readonly inodeTableBlocks: number;
  readonly descriptorBlocks: number;
  readonly blockBitmaps: number;
  readonly inodeBitmaps: number;
  readonly inodeTables: number;
  readonly firstDataBlock: number;
}

/** @throws KilnError `USAGE` for a size that is no multiple of 4096 or out of range. */
export function ext4Layout(sizeBytes: number): Ext4Layout {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes % BLOCK_SIZE !== 0) {
    throw new KilnError("USAGE", `the disk size must be a multiple of ${BLOCK_SIZE} bytes: ${sizeBytes}`);
  }
  if (sizeBytes < MIN_IMAGE_BYTES || sizeBytes > MAX_IMAGE_BYTES) {
    const mib = (bytes: number) => `${Math.floor(bytes / 1024 ** 2)} MiB`;
    throw new KilnError(
      "USAGE",
      `the disk size must be ${mib(MIN_IMAGE_BYTES)} to ${mib(MAX_IMAGE_BYTES)}: it is ${mib(sizeBytes)}`,
    );
  }
  const blocks = sizeBytes / BLOCK_SIZE;
  const groups = Math.ceil(blocks / BLOCKS_PER_GROUP);
  const inodesPerGroup =
    Math.ceil(sizeBytes / BYTES_PER_INODE / groups / INODES_PER_BLOCK) * INODES_PER_BLOCK;
  const inodeTableBlocks = inodesPerGroup / INODES_PER_BLOCK;
  const descriptorBlocks = Math.ceil((groups * GROUP_DESCRIPTOR_SIZE) / BLOCK_SIZE);
  const blockBitmaps = 1 + descriptorBlocks;
  const inodeBitmaps = blockBitmaps + groups;
  const inodeTables = inodeBitmaps + groups;
  return {
    sizeBytes,
    blocks,
    groups,
    inodesPerGroup,
    inodes: inodesPerGroup * groups,
    inodeTableBlocks,
    descriptorBlocks,
    blockBitmaps,
    inodeBitmaps,
    inodeTables,
    firstDataBlock: inodeTables + groups * inodeTableBlocks,
  };
}
