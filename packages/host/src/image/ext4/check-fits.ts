import { KilnError } from "../../errors.ts";
import { type Ext4Layout, ext4Layout, MAX_IMAGE_BYTES } from "./layout.ts";
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
  const reason = `the image needs ${Math.ceil(dataBlocks / 256)} MiB for its files and ${inodes} inodes`;
  for (let size = STEP_BYTES; size <= MAX_IMAGE_BYTES; size += STEP_BYTES) {
    if (!fits(ext4Layout(size), dataBlocks, inodes)) continue;
    throw new KilnError("DISK_FULL", `${reason}, a disk of at least ${size / MIB} MiB: disk_mib is ${have}`, {
      hint: `set disk_mib to ${size / MIB} or, to have room to work, more`,
      details: { requiredMib: size / MIB, diskMib: have },
    });
  }
  throw new KilnError("DISK_FULL", `${reason}: more than any disk can be`, {
    hint: "put less into the image",
  });
}

function fits(layout: Ext4Layout, dataBlocks: number, inodes: number): boolean {
  // Inodes below the first free one are reserved; the root is one of them.
  return (
    layout.firstDataBlock + dataBlocks <= layout.blocks &&
    FIRST_FREE_INODE - 1 + (inodes - 1) <= layout.inodes
  );
}
