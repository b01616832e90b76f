import type { ByteString } from "./byte-string.ts";
import { show } from "./byte-string.ts";
import type { ParentInode } from "./ext4/parent-image.ts";
import type { FileContent } from "./file-content.ts";
import type { FileTree } from "./file-tree.ts";
import { newDirectory } from "./file-tree.ts";
import type { Extent, FileInode, Inode, InodeAttributes } from "./inode.ts";
import { invalid } from "./invalid.ts";
import { normalisePath } from "./path.ts";
import type { TarEntry, TarHandler } from "./tar/tar-entry.ts";

/** Device numbers as the kernel packs them: 12 and 20 bits. */
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;

/** Puts the entries of an archive into a tree, and the content of its files where it will stay. */
export class TreeBuilder implements TarHandler {
  readonly #tree: FileTree;
  readonly #content: FileContent;
  readonly #parent: ReadonlyMap<ByteString, ParentInode>;
  /** Numbers of the parent's inodes whose blocks a file has got. */
  readonly #taken = new Set<number>();
  /** A file whose content is not complete. It gets its name at the end, when what it replaces has none of its blocks. */
  #open: { entry: TarEntry; inode: FileInode } | undefined;

  /** @param parent what the parent image has, by path */
  constructor(
    tree: FileTree,
    content: FileContent,
    parent: ReadonlyMap<ByteString, ParentInode> = new Map(),
  ) {
    this.#tree = tree;
    this.#content = content;
    this.#parent = parent;
  }

  /** Where the parent image has the file of this path; each of its inodes is given to one file only. */
  parentExtents(path: ByteString): readonly Extent[] {
    const found = this.#parent.size === 0 ? undefined : this.#parent.get(normalisePath(path));
    if (found?.kind !== "file" || this.#taken.has(found.number)) return [];
    this.#taken.add(found.number);
    return found.extents;
  }

  entry(entry: TarEntry): void {
    if (entry.type === "hard-link") {
      this.#tree.link(entry.path, entry.linkPath);
      return;
    }
    if (entry.type === "file") {
      const inode: FileInode = {
        ...attributesOf(entry),
        kind: "file",
        links: 0,
        size: entry.size,
        extents: [],
      };
      this.#open = { entry, inode };
      this.#content.begin(inode, this.parentExtents(entry.path));
      return;
    }
    this.#tree.put(entry.path, toInode(entry, entry.type));
  }

  data(bytes: Buffer): void {
    this.#content.write(bytes);
  }

  entryEnd(): void {
    if (this.#open === undefined) return;
    this.#content.end();
    this.#tree.put(this.#open.entry.path, this.#open.inode);
    this.#open = undefined;
  }
}

function toInode(entry: TarEntry, type: Exclude<TarEntry["type"], "hard-link" | "file">): Inode {
  const attributes = attributesOf(entry);
  switch (type) {
    case "directory":
      return newDirectory(attributes);
    case "symlink":
      if (entry.linkPath === "") throw invalid(`${show(entry.path)} is a symlink without a target`);
      return { ...attributes, kind: "symlink", links: 0, target: entry.linkPath };
    case "fifo":
      return { ...attributes, kind: "fifo", links: 0 };
    case "character-device":
    case "block-device": {
      const { deviceMajor: major, deviceMinor: minor } = entry;
      if (major < 0 || major > MAX_MAJOR || minor < 0 || minor > MAX_MINOR) {
        throw invalid(`${show(entry.path)} has the impossible device number ${major}:${minor}`);
      }
      return { ...attributes, kind: type, links: 0, major, minor };
    }
  }
}

function attributesOf(entry: TarEntry): InodeAttributes {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs } = entry;
  return { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs };
}
