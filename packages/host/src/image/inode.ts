import type { ByteString } from "./byte-string.ts";

/** A run of a file's blocks that lie one after the other on the disk. All in 4 KiB blocks. */
export interface Extent {
  /** Position in the file. */
  readonly logical: number;
  /** Position on the disk. */
  readonly start: number;
  count: number;
}

/** What every inode has. */
export interface InodeAttributes {
  /** `0` to `0o7777`. */
  mode: number;
  uid: number;
  gid: number;
  mtimeSeconds: number;
  mtimeNanoseconds: number;
  xattrs: ReadonlyMap<ByteString, Buffer>;
}

interface InodeBase extends InodeAttributes {
  /** Names that lead here; for a directory not counted. */
  links: number;
}

export interface FileInode extends InodeBase {
  readonly kind: "file";
  /** Bytes, holes included. */
  size: number;
  readonly extents: Extent[];
}

export interface DirectoryInode extends InodeBase {
  readonly kind: "directory";
  readonly children: Map<ByteString, Inode>;
}

export interface SymlinkInode extends InodeBase {
  readonly kind: "symlink";
  readonly target: ByteString;
}

export interface DeviceInode extends InodeBase {
  readonly kind: "character-device" | "block-device";
  readonly major: number;
  readonly minor: number;
}

export interface FifoInode extends InodeBase {
  readonly kind: "fifo";
}

export type Inode = FileInode | DirectoryInode | SymlinkInode | DeviceInode | FifoInode;
