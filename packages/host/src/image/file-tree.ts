import type { ByteString } from "./byte-string.ts";
import { show } from "./byte-string.ts";
import type { DirectoryInode, Inode, InodeAttributes } from "./inode.ts";
import { invalid } from "./invalid.ts";
import { splitPath } from "./path.ts";

/** Hard links one inode may have: ext4's EXT4_LINK_MAX. */
const MAX_LINKS = 65_000;
/** Symlinks followed for one path, as the kernel counts them. */
const MAX_SYMLINKS = 40;

/** Directories nobody described: root's, readable by all, from the epoch. */
function impliedAttributes(): InodeAttributes {
  return { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanoseconds: 0, xattrs: new Map() };
}

/** A hard link whose target is still to come. */
interface PendingLink {
  readonly path: ByteString;
  readonly target: ByteString;
  /** What has the link's name until then. */
  readonly replaces: Inode | undefined;
}

export function newDirectory(attributes: InodeAttributes): DirectoryInode {
  return { ...attributes, kind: "directory", links: 0, children: new Map() };
}

/**
 * A root filesystem's names and inodes in memory; file content is elsewhere. Entries are put in one after the other with
 * the meaning tar gives them: a later one replaces an earlier one of the same path. Nothing here follows a symlink out of
 * the tree, because there is nothing outside of it.
 */
export class FileTree {
  readonly root: DirectoryInode = newDirectory(impliedAttributes());
  readonly #onRemoved: (inode: Inode) => void;
  readonly #pendingLinks: PendingLink[] = [];

  /** @param onRemoved told of every inode that lost its last name */
  constructor(onRemoved: (inode: Inode) => void) {
    this.#onRemoved = onRemoved;
  }

  /**
   * Puts `inode` at `path`. A directory over a directory takes the new attributes and keeps its content.
   * @throws KilnError `IMAGE_INVALID` when the path leads through something that is no directory, or something that is
   * no directory would replace a directory that is not empty, or the root.
   */
  put(path: ByteString, inode: Inode): void {
    const names = splitPath(path);
    const name = names.pop();
    if (name === undefined) {
      if (inode.kind !== "directory") throw invalid(`${show(path)} would replace the root directory`);
      assignAttributes(this.root, inode);
      return;
    }
    this.#place(this.#parent(names, path), name, inode, path);
  }

  /** Makes `path` one more name of what `target` names; if nothing does yet, when `finish` is called. */
  link(path: ByteString, target: ByteString): void {
    const found = this.#find(splitPath(target));
    if (found === undefined) this.#pendingLinks.push({ path, target, replaces: this.#find(splitPath(path)) });
    else this.#linkTo(path, target, found);
  }

  /**
   * Resolves the hard links that came before their targets.
   * @throws KilnError `IMAGE_INVALID` for a link to nothing.
   */
  finish(): void {
    let waiting = this.#pendingLinks.splice(0);
    while (waiting.length > 0) {
      const still: typeof waiting = [];
      for (const link of waiting) {
        if (this.#find(splitPath(link.path)) !== link.replaces) continue; // A later entry has taken the name.
        const found = this.#find(splitPath(link.target));
        if (found === undefined) still.push(link);
        else this.#linkTo(link.path, link.target, found);
      }
      const first = still[0];
      if (first !== undefined && still.length === waiting.length) {
        throw invalid(`${show(first.path)} is a hard link to ${show(first.target)}, which does not exist`);
      }
      waiting = still;
    }
  }

  /**
   * `path` with the symlinks among its parents resolved inside the tree: `/sbin/agent` is `usr/sbin/agent` where
   * `/sbin` is a link to `usr/sbin`. Parents that do not exist are kept as they are.
   * @throws KilnError `IMAGE_INVALID` when symlinks form a loop.
   */
  resolveParents(path: ByteString): ByteString {
    const todo = splitPath(path);
    const last = todo.pop();
    const done: ByteString[] = [];
    let followed = 0;
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        done.pop();
        continue;
      }
      done.push(name);
      const found = this.#find(done);
      if (found?.kind !== "symlink") continue;
      if (++followed > MAX_SYMLINKS) throw invalid(`${show(path)} leads through a loop of symlinks`);
      done.pop();
      if (found.target.startsWith("/")) done.length = 0;
      todo.unshift(...found.target.split("/"));
    }
    return [...done, ...(last === undefined ? [] : [last])].join("/");
  }

  #linkTo(path: ByteString, target: ByteString, inode: Inode): void {
    if (inode.kind === "directory")
      throw invalid(`${show(path)} is a hard link to the directory ${show(target)}`);
    if (inode.links >= MAX_LINKS) throw invalid(`${show(target)} has more than ${MAX_LINKS} hard links`);
    const names = splitPath(path);
    if (this.#find(names) === inode) return; // A link to itself, or said twice.
    const name = names.pop();
    if (name === undefined) throw invalid(`${show(path)} would replace the root directory`);
    this.#place(this.#parent(names, path), name, inode, path);
  }

  #place(parent: DirectoryInode, name: ByteString, inode: Inode, path: ByteString): void {
    const old = parent.children.get(name);
    if (old?.kind === "directory") {
      if (inode.kind === "directory") {
        assignAttributes(old, inode);
        return;
      }
      if (old.children.size > 0) throw invalid(`${show(path)} would replace a directory that is not empty`);
    }
    parent.children.set(name, inode);
    inode.links++;
    if (old !== undefined && --old.links === 0) this.#onRemoved(old);
  }

  /** The directory at `names`; what is missing on the way is made. */
  #parent(names: readonly ByteString[], path: ByteString): DirectoryInode {
    let directory = this.root;
    for (const name of names) {
      const child = directory.children.get(name);
      if (child === undefined) {
        const made = newDirectory(impliedAttributes());
        made.links = 1;
        directory.children.set(name, made);
        directory = made;
      } else if (child.kind === "directory") {
        directory = child;
      } else {
        throw invalid(`${show(path)} leads through ${show(name)}, which is a ${child.kind} and no directory`);
      }
    }
    return directory;
  }

  #find(names: readonly ByteString[]): Inode | undefined {
    let inode: Inode = this.root;
    for (const name of names) {
      const child: Inode | undefined = inode.kind === "directory" ? inode.children.get(name) : undefined;
      if (child === undefined) return undefined;
      inode = child;
    }
    return inode;
  }
}

function assignAttributes(to: DirectoryInode, from: InodeAttributes): void {
  to.mode = from.mode;
  to.uid = from.uid;
  to.gid = from.gid;
  to.mtimeSeconds = from.mtimeSeconds;
  to.mtimeNanoseconds = from.mtimeNanoseconds;
  to.xattrs = from.xattrs;
}
