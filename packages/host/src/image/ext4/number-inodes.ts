import type { ByteString } from "../byte-string.ts";
import { compareBytes } from "../byte-string.ts";
import type { DirectoryInode, Inode } from "../inode.ts";
import { FIRST_FREE_INODE, ROOT_INODE } from "./superblock.ts";

/** An inode with its number and the first of its names. */
export interface NumberedInode {
  readonly inode: Inode;
  readonly number: number;
  readonly path: ByteString;
  /** Number of the directory that has `path`; the root is its own. */
  readonly parent: number;
}

/**
 * Numbers every inode of a tree: the root is 2, `lost+found` (the first of the root's children to be numbered) is 11,
 * then the children of each directory in byte order, side by side, directory after directory.
 */
export function numberInodes(root: DirectoryInode, lostAndFound: ByteString): Map<Inode, NumberedInode> {
  const numbered = new Map<Inode, NumberedInode>();
  const rootEntry: NumberedInode = { inode: root, number: ROOT_INODE, path: "", parent: ROOT_INODE };
  numbered.set(root, rootEntry);
  let next = FIRST_FREE_INODE;
  const waiting: { directory: DirectoryInode; entry: NumberedInode }[] = [
    { directory: root, entry: rootEntry },
  ];
  for (let top = waiting.pop(); top !== undefined; top = waiting.pop()) {
    const { directory, entry } = top;
    const children = sortedChildren(directory);
    if (directory === root)
      children.sort((a, b) => Number(b.name === lostAndFound) - Number(a.name === lostAndFound));
    const below: typeof waiting = [];
    for (const { name, inode } of children) {
      if (numbered.has(inode)) continue;
      const path = `${entry.path}/${name}`;
      const child: NumberedInode = { inode, number: next++, path, parent: entry.number };
      numbered.set(inode, child);
      if (inode.kind === "directory") below.push({ directory: inode, entry: child });
    }
    for (const child of below.reverse()) waiting.push(child);
  }
  return numbered;
}

/** Names and inodes of a directory in byte order. */
export function sortedChildren(directory: DirectoryInode): { name: ByteString; inode: Inode }[] {
  return [...directory.children]
    .map(([name, inode]) => ({ name, inode }))
    .sort((a, b) => compareBytes(a.name, b.name));
}
