import type { ByteString } from "../byte-string.ts";
import { compareBytes } from "../byte-string.ts";
import type { DirectoryInode, Inode } from "../inode.ts";
import type { ParentInode } from "./parent-image.ts";
import { FIRST_FREE_INODE, ROOT_INODE } from "./superblock.ts";

/** An inode with its number and the first of its names. */
export interface NumberedInode {
  readonly inode: Inode;
  readonly number: number;
  readonly path: ByteString;
  /** Number of the directory that has `path`; the root is its own. */
  readonly parent: number;
  /** What the parent image has under this number: the same kind of thing at the same path. */
  readonly before?: ParentInode | undefined;
}

/**
 * Numbers every inode of a tree: the root is 2, `lost+found` (the first of the root's children to be numbered) is 11,
 * then the children of each directory in byte order, side by side, directory after directory. What a parent image has
 * as well keeps its number; others take those that are free.
 */
export function numberInodes(
  root: DirectoryInode,
  lostAndFound: ByteString,
  parent: ReadonlyMap<ByteString, ParentInode> = new Map(),
): Map<Inode, NumberedInode> {
  const numbered = new Map<Inode, NumberedInode>();
  const kept = keptNumbers(root, parent);
  const taken = new Set([...kept.values()].map(({ number }) => number));
  let free = FIRST_FREE_INODE;
  const numberOf = (inode: Inode): number => {
    const before = kept.get(inode);
    if (before !== undefined) return before.number;
    while (taken.has(free)) free++;
    return free++;
  };
  const rootEntry: NumberedInode = {
    inode: root,
    number: ROOT_INODE,
    path: "",
    parent: ROOT_INODE,
    before: kept.get(root),
  };
  numbered.set(root, rootEntry);
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
      const child: NumberedInode = {
        inode,
        number: numberOf(inode),
        path,
        parent: entry.number,
        before: kept.get(inode),
      };
      numbered.set(inode, child);
      if (inode.kind === "directory") below.push({ directory: inode, entry: child });
    }
    for (const child of below.reverse()) waiting.push(child);
  }
  return numbered;
}

/** For each inode what the parent image has at one of its paths, if that is of its kind; each of those once. */
function keptNumbers(
  root: DirectoryInode,
  parent: ReadonlyMap<ByteString, ParentInode>,
): Map<Inode, ParentInode> {
  const kept = new Map<Inode, ParentInode>();
  if (parent.size === 0) return kept;
  const taken = new Set<number>();
  const visit = (inode: Inode, path: ByteString) => {
    const before = parent.get(path);
    if (before === undefined || before.kind !== inode.kind || kept.has(inode) || taken.has(before.number))
      return;
    kept.set(inode, before);
    taken.add(before.number);
  };
  const waiting: { directory: DirectoryInode; path: ByteString }[] = [{ directory: root, path: "" }];
  visit(root, "");
  for (let top = waiting.pop(); top !== undefined; top = waiting.pop()) {
    for (const { name, inode } of sortedChildren(top.directory)) {
      const path = `${top.path}/${name}`;
      visit(inode, path);
      if (inode.kind === "directory") waiting.push({ directory: inode, path });
    }
  }
  return kept;
}

/** Names and inodes of a directory in byte order. */
export function sortedChildren(directory: DirectoryInode): { name: ByteString; inode: Inode }[] {
  return [...directory.children]
    .map(([name, inode]) => ({ name, inode }))
    .sort((a, b) => compareBytes(a.name, b.name));
}
