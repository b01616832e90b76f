import type { ByteString } from "../byte-string.ts";
import type { Extent, Inode } from "../inode.ts";
import { invalid } from "../invalid.ts";
import { EXTENTS_FLAG } from "./encode-inode.ts";
import { FILE_TYPE } from "./file-type.ts";
import { BLOCK_SIZE, type Ext4Layout, INODE_SIZE } from "./layout.ts";
import { type Ext4Identity, FIRST_FREE_INODE, ROOT_INODE, SUPERBLOCK_OFFSET } from "./superblock.ts";

/** Reads an image that this writer has made, whole blocks at once. It is not a file: it may lie in several layers. */
export interface BlockReader {
  readonly sizeBytes: number;
  /** `count` blocks from `block` on. Synchronous, as the archive's reader is: the blocks are in local files. */
  read(block: number, count: number): Buffer;
}

/** Where one inode of a parent image is, and what is its own. */
export interface ParentInode {
  readonly number: number;
  readonly kind: Inode["kind"];
  /** Bytes, as `ls` shows it. */
  readonly size: number;
  readonly extents: readonly Extent[];
  /** Blocks of its extent tree. */
  readonly treeBlocks: readonly number[];
  /** 0 for none. */
  readonly xattrBlock: number;
}

/** An image that another one is to share blocks with. */
export interface ParentImage {
  readonly blocks: BlockReader;
  readonly identity: Ext4Identity;
  /** By path, as `/usr/bin`; the root is the empty path. */
  readonly inodes: ReadonlyMap<ByteString, ParentInode>;
  /** Every block from this on is free and zero. */
  readonly nextBlock: number;
  /** Every inode above this is free. */
  readonly lastInode: number;
}

const EXTENT_ENTRY_SIZE = 12;
const EXTENT_HEADER_SIZE = 12;
const I_BLOCK_OFFSET = 0x28;
const KIND_BY_MODE = new Map(
  (Object.keys(FILE_TYPE) as Inode["kind"][]).map((kind) => [FILE_TYPE[kind].modeBits, kind]),
);
/** Characters a symlink may have that is kept in its inode. */
const FAST_SYMLINK_BYTES = 60;

/**
 * Finds out where everything is in an image of this writer's. The guest never writes to it, so it is as it was made.
 * @throws KilnError `IMAGE_INVALID` when it is not such an image.
 */
export function readParentImage(blocks: BlockReader, layout: Ext4Layout): ParentImage {
  const identity = readIdentity(blocks);
  const inodeTable = new InodeTable(blocks, layout);
  const inodes = new Map<ByteString, ParentInode>();
  let nextBlock = layout.firstDataBlock;
  let lastInode = FIRST_FREE_INODE - 1;
  const waiting: { path: ByteString; number: number }[] = [{ path: "", number: ROOT_INODE }];
  const seen = new Map<number, ParentInode>();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { path, number } = next;
    const known = seen.get(number);
    const inode = known ?? readInode(blocks, number, inodeTable.read(number));
    inodes.set(path, inode);
    if (known !== undefined) continue;
    seen.set(number, inode);
    lastInode = Math.max(lastInode, number);
    for (const { start, count } of inode.extents) nextBlock = Math.max(nextBlock, start + count);
    for (const block of [...inode.treeBlocks, inode.xattrBlock]) nextBlock = Math.max(nextBlock, block + 1);
    if (inode.kind !== "directory") continue;
    for (const entry of readDirectory(blocks, inode)) {
      waiting.push({ path: `${path}/${entry.name}`, number: entry.inode });
    }
  }
  return { blocks, identity, inodes, nextBlock, lastInode };
}

function readIdentity(blocks: BlockReader): Ext4Identity {
  const superblock = blocks.read(0, 1).subarray(SUPERBLOCK_OFFSET);
  if (superblock.readUInt16LE(0x38) !== 0xef53)
    throw invalid("the image it is to be based on is no ext4 image");
  const label = superblock.subarray(0x78, 0x88);
  const end = label.indexOf(0);
  return {
    uuid: Buffer.from(superblock.subarray(0x68, 0x78)),
    hashSeed: [0, 1, 2, 3].map((index) => superblock.readUInt32LE(0xec + index * 4)),
    label: Buffer.from(end === -1 ? label : label.subarray(0, end)),
  };
}

/** Inodes by number; a block of them is read once while neighbours are asked for. */
class InodeTable {
  readonly #blocks: BlockReader;
  readonly #layout: Ext4Layout;
  #current = -1;
  #content: Buffer = Buffer.alloc(0);

  constructor(blocks: BlockReader, layout: Ext4Layout) {
    this.#blocks = blocks;
    this.#layout = layout;
  }

  read(number: number): Buffer {
    const at = (number - 1) * INODE_SIZE;
    if (number < 1 || number > this.#layout.inodes) throw invalid(`the parent image has no inode ${number}`);
    const block = this.#layout.inodeTables + Math.floor(at / BLOCK_SIZE);
    if (block !== this.#current) {
      this.#content = this.#blocks.read(block, 1);
      this.#current = block;
    }
    return this.#content.subarray(at % BLOCK_SIZE, (at % BLOCK_SIZE) + INODE_SIZE);
  }
}

function readInode(blocks: BlockReader, number: number, bytes: Buffer): ParentInode {
  const kind = KIND_BY_MODE.get(bytes.readUInt16LE(0) & 0xf000);
  if (kind === undefined) throw invalid(`inode ${number} of the parent image is of no known kind`);
  const size = bytes.readUInt32LE(0x04) + bytes.readUInt32LE(0x6c) * 2 ** 32;
  const hasExtents = (bytes.readUInt32LE(0x20) & EXTENTS_FLAG) !== 0;
  const isFast = kind === "symlink" && size < FAST_SYMLINK_BYTES;
  const extents: Extent[] = [];
  const treeBlocks: number[] = [];
  if (hasExtents && !isFast) readExtents(blocks, bytes.subarray(I_BLOCK_OFFSET), extents, treeBlocks);
  return { number, kind, size, extents, treeBlocks, xattrBlock: bytes.readUInt32LE(0x68) };
}

function readExtents(blocks: BlockReader, node: Buffer, extents: Extent[], treeBlocks: number[]): void {
  const entries = node.readUInt16LE(2);
  const depth = node.readUInt16LE(6);
  for (let index = 0; index < entries; index++) {
    const at = EXTENT_HEADER_SIZE + index * EXTENT_ENTRY_SIZE;
    if (depth === 0) {
      extents.push({
        logical: node.readUInt32LE(at),
        count: node.readUInt16LE(at + 4),
        start: node.readUInt32LE(at + 8),
      });
    } else {
      const block = node.readUInt32LE(at + 4);
      treeBlocks.push(block);
      readExtents(blocks, blocks.read(block, 1), extents, treeBlocks);
    }
  }
}

/** Names of a directory but `.` and `..`. Index nodes of a hash tree look like entries without an inode. */
function readDirectory(blocks: BlockReader, inode: ParentInode): { name: ByteString; inode: number }[] {
  const found: { name: ByteString; inode: number }[] = [];
  for (const { start, count } of inode.extents) {
    const bytes = blocks.read(start, count);
    for (let at = 0; at < bytes.length; ) {
      const number = bytes.readUInt32LE(at);
      const size = bytes.readUInt16LE(at + 4);
      const name = bytes.toString("latin1", at + 8, at + 8 + bytes.readUInt8(at + 6));
      if (size < 8) throw invalid(`directory ${inode.number} of the parent image is damaged`);
      if (number !== 0 && name !== "." && name !== "..") found.push({ name, inode: number });
      at += size;
    }
  }
  return found;
}
