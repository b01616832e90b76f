import type { Extent } from "../inode.ts";
import { BLOCK_SIZE } from "./layout.ts";

/** `i_block`, where the root of the tree lives. */
export const I_BLOCK_SIZE = 60;

const MAGIC = 0xf30a;
const HEADER_SIZE = 12;
const ENTRY_SIZE = 12;
/** An `ee_len` above this means "not initialised". */
const MAX_EXTENT_BLOCKS = 32_768;
const ROOT_ENTRIES = (I_BLOCK_SIZE - HEADER_SIZE) / ENTRY_SIZE;
const NODE_ENTRIES = Math.floor((BLOCK_SIZE - HEADER_SIZE) / ENTRY_SIZE);

/** One entry of a node: an extent in a leaf, a pointer to a lower node elsewhere. */
interface Entry {
  readonly logical: number;
  readonly block: number;
  /** Of an extent, in blocks. */
  readonly count: number;
}

export interface ExtentTree {
  /** Content of `i_block`, 60 bytes. */
  readonly root: Buffer;
  /** Blocks that the tree took besides. */
  readonly blocks: number;
}

/**
 * Builds the tree that maps a file's blocks (kernel documentation, "Dynamic Structures: Extent Tree"). Up to four
 * extents fit the inode; with more, leaves and index nodes of 340 entries are put into blocks.
 *
 * @param extents ascending, not overlapping
 * @param putBlock stores a block and says where
 */
export function buildExtentTree(
  extents: readonly Extent[],
  putBlock: (content: Buffer) => number,
): ExtentTree {
  let entries: Entry[] = extents.flatMap(splitExtent);
  let depth = 0;
  let blocks = 0;
  while (entries.length > ROOT_ENTRIES) {
    const parents: Entry[] = [];
    for (let at = 0; at < entries.length; at += NODE_ENTRIES) {
      const part = entries.slice(at, at + NODE_ENTRIES);
      const node = Buffer.alloc(BLOCK_SIZE);
      encodeNode(node, part, NODE_ENTRIES, depth);
      parents.push({ logical: part[0]?.logical ?? 0, block: putBlock(node), count: 0 });
      blocks++;
    }
    entries = parents;
    depth++;
  }
  const root = Buffer.alloc(I_BLOCK_SIZE);
  encodeNode(root, entries, ROOT_ENTRIES, depth);
  return { root, blocks };
}

function splitExtent(extent: Extent): Entry[] {
  const entries: Entry[] = [];
  for (let done = 0; done < extent.count; done += MAX_EXTENT_BLOCKS) {
    const count = Math.min(MAX_EXTENT_BLOCKS, extent.count - done);
    entries.push({ logical: extent.logical + done, block: extent.start + done, count });
  }
  return entries;
}

function encodeNode(node: Buffer, entries: readonly Entry[], maxEntries: number, depth: number): void {
  node.writeUInt16LE(MAGIC, 0);
  node.writeUInt16LE(entries.length, 2);
  node.writeUInt16LE(maxEntries, 4);
  node.writeUInt16LE(depth, 6);
  let at = HEADER_SIZE;
  for (const { logical, block, count } of entries) {
    node.writeUInt32LE(logical, at);
    if (depth === 0) {
      node.writeUInt16LE(count, at + 4);
      node.writeUInt32LE(block, at + 8);
    } else {
      node.writeUInt32LE(block, at + 4);
    }
    at += ENTRY_SIZE;
  }
}
