import type { Inode } from "../inode.ts";

/** The type's bits in `i_mode`, and its number in directory entries. */
export const FILE_TYPE: Readonly<Record<Inode["kind"], { modeBits: number; directoryEntry: number }>> = {
  file: { modeBits: 0x8000, directoryEntry: 1 },
  directory: { modeBits: 0x4000, directoryEntry: 2 },
  "character-device": { modeBits: 0x2000, directoryEntry: 3 },
  "block-device": { modeBits: 0x6000, directoryEntry: 4 },
  fifo: { modeBits: 0x1000, directoryEntry: 5 },
  symlink: { modeBits: 0xa000, directoryEntry: 7 },
};
