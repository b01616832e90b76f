import { KilnError } from "../../errors.ts";
import { BLOCK_SIZE, type Ext4Layout, ext4Layout, MAX_IMAGE_BYTES } from "./layout.ts";
import { FIRST_FREE_INODE } from "./superblock.ts";

const MIB = 1024 ** 2;
/** Sizes are proposed in steps of this. */
const STEP_BYTES = 64 * MIB;

/**
 * @param nextBlock the first block that is not taken, which may be beyond the disk
 * @param inodes how many are in use, the reserved ones (but the root) not counted
 * @throws KilnError `DISK_FULL` when the disk is too small, saying how big it has to be.
 */
export function checkFits(layout: Ext4Layout, nextBlock: number, inodes: number): void {
  const dataBlocks = nextBlock - layout.firstDataBlock;
  if (fits(layout, dataBlocks, inodes)) return;
  const have = layout.sizeBytes / MIB;
  const reason = `the image needs ${Math.ceil((dataBlocks * BLOCK_SIZE) / MIB)} MiB for its files and ${inodes} inodes`;
  for (let size = STEP_BYTES; size <= MAX_IMAGE_BYTES; size += STEP_BYTES) {
    if (!fits(ext4Layout(size), dataBlocks, inodes)) continue;
    throw new KilnError("DISK_FULL", `${reason}, a disk of at least ${size / MIB} MiB: disk_mib is ${have}`, {
      hint: `set disk_mib to ${size / MIB} or, to have room to work, more`,
      details: { requiredMib: size / MIB, diskMib: have },
    });
  }
  throw tooBig(reason);
}

/**
 * Ends the counting of an archive that no disk can hold.
 * @throws KilnError `DISK_FULL`
 */
export function checkPossible(nextBlock: number): void {
  if (nextBlock * BLOCK_SIZE > MAX_IMAGE_BYTES) throw tooBig("the image's files do not end");
}

function fits(layout: Ext4Layout, dataBlocks: number, inodes: number): boolean {
  // Inodes below the first free one are reserved; the root is one of them.
  const lastInode = FIRST_FREE_INODE - 1 + (inodes - 1);
  return layout.firstDataBlock + dataBlocks <= layout.blocks && lastInode <= layout.inodes;
}

function tooBig(reason: string): KilnError {
  return new KilnError("DISK_FULL", `${reason}: more than the biggest disk, ${MAX_IMAGE_BYTES / MIB} MiB`, {
    hint: "put less into the image",
  });
}
