import type { BlockWriter } from "../block-writer.ts";
import { show, toBytes } from "../byte-string.ts";
import type { DirectoryInode, Inode } from "../inode.ts";
import { invalid } from "../invalid.ts";
import type { BlockAllocator } from "./block-allocator.ts";
import { type DirectoryEntry, dotEntries, encodeEntries, fitsOneBlock } from "./directory.ts";
import { EXTENTS_FLAG, encodeDevice, encodeInode, INDEX_FLAG } from "./encode-inode.ts";
import { buildExtentTree, I_BLOCK_SIZE } from "./extent-tree.ts";
import { FILE_TYPE } from "./file-type.ts";
import { writeGroups } from "./groups.ts";
import { buildHashTree } from "./hash-tree-directory.ts";
import { BLOCK_SIZE, type Ext4Layout, INODE_SIZE, INODES_PER_BLOCK } from "./layout.ts";
import { type NumberedInode, sortedChildren } from "./number-inodes.ts";
import type { ParentInode } from "./parent-image.ts";
import { type Ext4Identity, FIRST_FREE_INODE } from "./superblock.ts";
import { encodeXattrs } from "./xattrs.ts";

/** More links than this, of a directory with many others in it, are written as 1: "not counted" (dir_nlink). */
const MAX_DIRECTORY_LINKS = 64_999;

export interface Ext4Target {
  readonly writer: BlockWriter;
  readonly allocator: BlockAllocator;
  readonly layout: Ext4Layout;
  readonly identity: Ext4Identity;
  /** The last inode of the parent image, 0 without one. */
  readonly lastInode: number;
}

/**
 * Writes what inodes need besides the content of files: directories, long symlinks, xattrs, extent trees. Returns the
 * inode table up to the last inode in use, a multiple of 4096 bytes.
 */
export async function writeInodes(
  target: Ext4Target,
  numbered: ReadonlyMap<Inode, NumberedInode>,
): Promise<Buffer> {
  const last = lastNumber(target, numbered);
  const table = Buffer.alloc(Math.ceil(last / INODES_PER_BLOCK) * BLOCK_SIZE);
  for (const entry of numbered.values()) {
    writeInode(target, numbered, entry, table);
    await target.writer.drain();
  }
  return table;
}

/** Writes everything in front of the data blocks; the last step of an image. */
export async function writeFront(
  target: Ext4Target,
  numbered: ReadonlyMap<Inode, NumberedInode>,
  table: Buffer,
): Promise<void> {
  const { writer, layout, allocator, identity } = target;
  const directories: number[] = new Array(layout.groups).fill(0);
  for (const { inode, number } of numbered.values()) {
    if (inode.kind !== "directory") continue;
    const group = Math.floor((number - 1) / layout.inodesPerGroup);
    directories[group] = (directories[group] ?? 0) + 1;
  }
  await writeGroups(writer, layout, identity, {
    nextBlock: allocator.next,
    released: allocator.released,
    lastInode: lastNumber(target, numbered),
    freeInodes: freeNumbers(target, numbered),
    directories,
  });
  for (let at = 0; at < table.length; at += BLOCK_SIZE) {
    writer.addUnlessZero(layout.inodeTables + at / BLOCK_SIZE, table.subarray(at, at + BLOCK_SIZE));
    await writer.drain();
  }
}

/** A parent's inodes are in its table, so an image on top of it never has a shorter one. */
function lastNumber({ lastInode }: Ext4Target, numbered: ReadonlyMap<Inode, NumberedInode>): number {
  let last = lastInode;
  for (const { number } of numbered.values()) last = Math.max(last, number);
  return last;
}

/** Inodes that only the parent has. */
function freeNumbers(target: Ext4Target, numbered: ReadonlyMap<Inode, NumberedInode>): number[] {
  const used = new Set([...numbered.values()].map(({ number }) => number));
  const free: number[] = [];
  for (let number = FIRST_FREE_INODE; number <= target.lastInode; number++) {
    if (!used.has(number)) free.push(number);
  }
  return free;
}

/** What an inode's kind decides. */
interface Body {
  readonly size: number;
  readonly flags: number;
  readonly links: number;
  readonly blocks: number;
  readonly iBlock: Buffer;
}

function writeInode(
  target: Ext4Target,
  numbered: ReadonlyMap<Inode, NumberedInode>,
  entry: NumberedInode,
  table: Buffer,
): void {
  const { inode } = entry;
  const body = writeBody(target, numbered, entry);
  const xattrs = encodeXattrs(entry.path, inode.xattrs);
  const { xattrBlock: before = 0 } = entry.before ?? {};
  const xattrBlock =
    xattrs.block === undefined ? 0 : putBlock(target, xattrs.block, before === 0 ? [] : [before]);
  encodeInode(table, (entry.number - 1) * INODE_SIZE, {
    ...body,
    attributes: inode,
    modeBits: FILE_TYPE[inode.kind].modeBits,
    blocks: body.blocks + (xattrBlock === 0 ? 0 : 1),
    xattrBlock,
    inlineXattrs: xattrs.inline,
  });
}

function writeBody(
  target: Ext4Target,
  numbered: ReadonlyMap<Inode, NumberedInode>,
  entry: NumberedInode,
): Body {
  const { inode } = entry;
  switch (inode.kind) {
    case "file": {
      const before = [...(entry.before?.treeBlocks ?? [])];
      const tree = buildExtentTree(inode.extents, (block) => putBlock(target, block, before));
      const data = inode.extents.reduce((sum, { count }) => sum + count, 0);
      return {
        size: inode.size,
        flags: EXTENTS_FLAG,
        links: inode.links,
        blocks: data + tree.blocks,
        iBlock: tree.root,
      };
    }
    case "directory":
      return writeDirectory(target, numbered, entry, inode);
    case "symlink": {
      const bytes = toBytes(inode.target);
      if (bytes.length < I_BLOCK_SIZE) {
        return { size: bytes.length, flags: 0, links: inode.links, blocks: 0, iBlock: bytes };
      }
      const block = Buffer.alloc(BLOCK_SIZE);
      bytes.copy(block);
      return {
        ...contiguous(target, [block], entry.before),
        size: bytes.length,
        flags: EXTENTS_FLAG,
        links: inode.links,
      };
    }
    case "character-device":
    case "block-device":
      return {
        size: 0,
        flags: 0,
        links: inode.links,
        blocks: 0,
        iBlock: encodeDevice(inode.major, inode.minor),
      };
    case "fifo":
      return { size: 0, flags: 0, links: inode.links, blocks: 0, iBlock: Buffer.alloc(0) };
  }
}

function writeDirectory(
  target: Ext4Target,
  numbered: ReadonlyMap<Inode, NumberedInode>,
  entry: NumberedInode,
  inode: DirectoryInode,
): Body {
  const dots = dotEntries(entry.number, entry.parent);
  const entries: DirectoryEntry[] = sortedChildren(inode).map((child) => ({
    name: child.name,
    inode: numbered.get(child.inode)?.number ?? 0,
    type: FILE_TYPE[child.inode.kind].directoryEntry,
  }));
  let links = 2;
  for (const child of inode.children.values()) if (child.kind === "directory") links++;

  const fitsOne = fitsOneBlock([...dots, ...entries]);
  const blocks = fitsOne
    ? [encodeEntries([...dots, ...entries])]
    : buildHashTree(dots, entries, target.identity.hashSeed);
  if (blocks === undefined) throw invalid(`the directory ${show(entry.path)} has too many entries`);
  return {
    ...contiguous(target, blocks, entry.before),
    size: blocks.length * BLOCK_SIZE,
    flags: EXTENTS_FLAG | (fitsOne ? 0 : INDEX_FLAG),
    links: links > MAX_DIRECTORY_LINKS ? 1 : links,
  };
}

/** Stores `content` where the parent image has as many blocks of the same thing, else in one run. */
function contiguous(
  target: Ext4Target,
  content: readonly Buffer[],
  before: ParentInode | undefined,
): { iBlock: Buffer; blocks: number } {
  const room = before?.extents.reduce((sum, { count }) => sum + count, 0);
  const extents =
    before !== undefined && room === content.length
      ? before.extents
      : [{ logical: 0, start: target.allocator.allocate(content.length), count: content.length }];
  for (const { logical, start, count } of extents) {
    if (extents === before?.extents) target.allocator.keep(start, count);
    for (let index = 0; index < count; index++) {
      target.writer.add(start + index, content[logical + index] ?? Buffer.alloc(BLOCK_SIZE));
    }
  }
  const treeBlocks = [...(before?.treeBlocks ?? [])];
  const tree = buildExtentTree(extents, (block) => putBlock(target, block, treeBlocks));
  return { iBlock: tree.root, blocks: content.length + tree.blocks };
}

/** Stores a block in the first of `before`, which is taken from there, else in a new one. */
function putBlock(target: Ext4Target, content: Buffer, before: number[]): number {
  const kept = before.shift();
  const block = kept ?? target.allocator.allocate(1);
  if (kept !== undefined) target.allocator.keep(kept, 1);
  target.writer.add(block, content);
  return block;
}
