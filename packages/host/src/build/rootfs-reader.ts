import { openLower } from "../block/disk/lower.ts";
import { readLower } from "../block/disk/read-lower.ts";
import type { BlockReader } from "../image/ext4/parent-image.ts";

/** What of a rootfs it takes to read it. */
export interface RootfsFiles {
  path: string;
  layers: readonly string[];
  sizeBytes: number;
}

/** Blocks of a rootfs, whichever of its layers they are in. */
export interface RootfsReader extends Disposable {
  blocks: BlockReader;
  /** Identity of its topmost layer. */
  top: string;
}

/** @throws KilnError `IMAGE_INVALID` when a file is missing or damaged. */
export async function openRootfsReader({ path, layers, sizeBytes }: RootfsFiles): Promise<RootfsReader> {
  const lower = await openLower({ base: path, layers, sizeBytes });
  return {
    blocks: { sizeBytes, read: (block, count) => readLower(lower, block, count) },
    top: lower.top,
    [Symbol.dispose]: () => lower.close(),
  };
}
