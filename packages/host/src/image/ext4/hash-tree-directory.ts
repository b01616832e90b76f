import { compareBytes } from "../byte-string.ts";
import { type DirectoryEntry, encodeEntries, encodeEntry, entrySize } from "./directory.ts";
import { halfMd4 } from "./half-md4.ts";
import { BLOCK_SIZE } from "./layout.ts";

/** `s_def_hash_version` and the tree's own: half MD4. That characters are unsigned is a flag of the superblock. */
export const HASH_VERSION_HALF_MD4 = 1;

/** A leaf is left a fifth empty, so that the guest's next file does not split it. */
const LEAF_FILL_BYTES = Math.floor(BLOCK_SIZE * 0.8);
const INDEX_ENTRY_SIZE = 8;
/** `.`, `..` and the tree's own header come first in the root; one unused entry in other index nodes. */
const ROOT_HEADER_SIZE = 32;
const NODE_HEADER_SIZE = 8;
const ROOT_LIMIT = (BLOCK_SIZE - ROOT_HEADER_SIZE) / INDEX_ENTRY_SIZE;
const NODE_LIMIT = (BLOCK_SIZE - NODE_HEADER_SIZE) / INDEX_ENTRY_SIZE;

/** A lower node: the first hash in it, and its position in the directory. */
interface IndexEntry {
  readonly hash: number;
  readonly block: number;
}

/**
 * The blocks of a directory too big for one: leaves ordered by the hash of the name under an index of one or two levels
 * (kernel documentation, "Hash Tree Directories"). A name is found in three block reads, however many there are.
 *
 * @param dots `.` and `..`
 * @returns blocks in the directory's order, the root first; undefined when two levels do not suffice
 */
export function buildHashTree(
  dots: readonly DirectoryEntry[],
  entries: readonly DirectoryEntry[],
  hashSeed: readonly number[],
): Buffer[] | undefined {
  const { leaves, hashes } = packLeaves(entries, hashSeed);
  const nodeCount = leaves.length <= ROOT_LIMIT ? 0 : Math.ceil(leaves.length / NODE_LIMIT);
  if (nodeCount > ROOT_LIMIT) return undefined;

  const firstLeaf = 1 + nodeCount;
  const leafIndex = hashes.map((hash, i): IndexEntry => ({ hash, block: firstLeaf + i }));
  const nodes: Buffer[] = [];
  const nodeIndex: IndexEntry[] = [];
  for (let i = 0; i < nodeCount; i++) {
    const part = leafIndex.slice(i * NODE_LIMIT, (i + 1) * NODE_LIMIT);
    nodeIndex.push({ hash: part[0]?.hash ?? 0, block: 1 + i });
    nodes.push(encodeNode(part));
  }
  const root = encodeRoot(dots, nodeCount === 0 ? leafIndex : nodeIndex, nodeCount === 0 ? 0 : 1);
  return [root, ...nodes, ...leaves];
}

/** Entries in blocks by ascending hash. A leaf that begins amid names of one hash has bit 0 of its hash set. */
function packLeaves(
  entries: readonly DirectoryEntry[],
  hashSeed: readonly number[],
): { leaves: Buffer[]; hashes: number[] } {
  const sorted = entries
    .map((entry) => ({ entry, hash: halfMd4(entry.name, hashSeed) }))
    .sort((a, b) => a.hash - b.hash || compareBytes(a.entry.name, b.entry.name));
  const leaves: Buffer[] = [];
  const hashes: number[] = [];
  let leaf: DirectoryEntry[] = [];
  let used = 0;
  let previousHash = -1;
  for (const { entry, hash } of sorted) {
    const size = entrySize(entry.name);
    if (leaf.length > 0 && used + size > LEAF_FILL_BYTES) {
      leaves.push(encodeEntries(leaf));
      leaf = [];
      used = 0;
    }
    if (leaf.length === 0) hashes.push(hash === previousHash ? hash | 1 : hash);
    leaf.push(entry);
    used += size;
    previousHash = hash;
  }
  if (leaf.length > 0) leaves.push(encodeEntries(leaf));
  return { leaves, hashes };
}

function encodeRoot(dots: readonly DirectoryEntry[], index: readonly IndexEntry[], levels: number): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  let at = 0;
  for (const dot of dots) at = encodeEntry(block, at, dot, at === 0 ? entrySize(dot.name) : BLOCK_SIZE - at);
  block.writeUInt8(HASH_VERSION_HALF_MD4, 0x1c);
  block.writeUInt8(8, 0x1d); // Length of this header.
  block.writeUInt8(levels, 0x1e);
  encodeIndex(block, ROOT_HEADER_SIZE, index, ROOT_LIMIT);
  return block;
}

function encodeNode(index: readonly IndexEntry[]): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  block.writeUInt16LE(BLOCK_SIZE, 4); // An entry without inode that hides the rest from whoever knows no index.
  encodeIndex(block, NODE_HEADER_SIZE, index, NODE_LIMIT);
  return block;
}

/** The first entry needs no hash (it takes what is below the second): limit and count stand there. */
function encodeIndex(block: Buffer, at: number, index: readonly IndexEntry[], limit: number): void {
  for (const [i, entry] of index.entries()) {
    block.writeUInt32LE(entry.hash, at + i * INDEX_ENTRY_SIZE);
    block.writeUInt32LE(entry.block, at + i * INDEX_ENTRY_SIZE + 4);
  }
  block.writeUInt16LE(limit, at);
  block.writeUInt16LE(index.length, at + 2);
}
