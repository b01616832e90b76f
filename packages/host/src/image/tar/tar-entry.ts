import type { ByteString } from "../byte-string.ts";

export type TarEntryType =
  | "file"
  | "hard-link"
  | "symlink"
  | "character-device"
  | "block-device"
  | "directory"
  | "fifo";

/** One member of a tar archive, after every extension header was applied to it. */
export interface TarEntry {
  readonly type: TarEntryType;
  /** As the archive has it: not normalised. */
  readonly path: ByteString;
  /** Target of a hard link or a symlink, else empty. */
  readonly linkPath: ByteString;
  /** Permission bits with setuid, setgid and sticky, `0` to `0o7777`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow; 0 for all but files. */
  readonly size: number;
  /** Modification time, whole seconds since 1970, may be negative. */
  readonly mtimeSeconds: number;
  /** `0` to `999999999`. */
  readonly mtimeNanoseconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended attributes: full name (`security.capability`) to value. */
  readonly xattrs: ReadonlyMap<ByteString, Buffer>;
}

/** What a tar reader tells of an archive, in the archive's order. All calls are synchronous. */
export interface TarHandler {
  /** An entry begins. */
  entry(entry: TarEntry): void;
  /** More content of the file that began last. The bytes are only lent: copy what is kept. */
  data(bytes: Buffer): void;
  /** The content of the entry that began last is complete. */
  entryEnd(): void;
}

/** Tells two handlers of the same archive, `first` first. */
export function both(first: TarHandler, second: TarHandler): TarHandler {
  return {
    entry(entry) {
      first.entry(entry);
      second.entry(entry);
    },
    data(bytes) {
      first.data(bytes);
      second.data(bytes);
    },
    entryEnd() {
      first.entryEnd();
      second.entryEnd();
    },
  };
}
