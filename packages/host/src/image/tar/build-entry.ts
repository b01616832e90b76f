import type { ByteString } from "../byte-string.ts";
import { show } from "../byte-string.ts";
import { invalid } from "../invalid.ts";
import { MAX_FILE_BYTES, MAX_ID, MAX_PATH_BYTES } from "./limits.ts";
import { type PaxRecords, paxInteger, paxTime } from "./pax.ts";
import type { TarEntry, TarEntryType } from "./tar-entry.ts";
import type { UstarHeader } from "./ustar-header.ts";

const XATTR_PREFIX = "SCHILY.xattr.";

const TYPES: Readonly<Record<string, TarEntryType>> = {
  "\0": "file",
  "0": "file",
  "1": "hard-link",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
  "7": "file", // "contiguous file": a file to everyone who is not a 1980s disk driver.
};

/** What the extension headers before an entry said. */
export interface TarExtensions {
  readonly pax: PaxRecords | undefined;
  readonly globalPax: PaxRecords;
  readonly longPath: ByteString | undefined;
  readonly longLinkPath: ByteString | undefined;
}

/**
 * One entry from its header and its extensions: PAX over GNU over ustar, as GNU tar and Go's archive/tar do.
 * @throws KilnError `IMAGE_INVALID` for an entry that cannot be kept exactly.
 */
export function buildTarEntry(header: UstarHeader, extensions: TarExtensions): TarEntry {
  const fields = {
    path: extensions.longPath ?? header.path,
    linkPath: extensions.longLinkPath ?? header.linkPath,
    uid: header.uid,
    gid: header.gid,
    size: header.size,
    mtimeSeconds: header.mtime,
    mtimeNanoseconds: 0,
  };
  const xattrs = new Map<ByteString, Buffer>();
  for (const [key, value] of extensions.globalPax) applyRecord(fields, xattrs, key, value);
  for (const [key, value] of extensions.pax ?? []) applyRecord(fields, xattrs, key, value);

  const { path } = fields;
  let type = TYPES[header.typeFlag];
  if (type === undefined) {
    throw invalid(`${show(path)} in the tar has the unsupported type ${show(header.typeFlag)}`);
  }
  if (type === "file" && path.endsWith("/")) type = "directory"; // How archives before POSIX spell one.
  // Go's archive/tar, which podman writes and reads with, has content for files alone, whatever the size field says.
  const size = type === "file" ? fields.size : 0;

  checkPath(path, "path");
  checkPath(fields.linkPath, "link target");
  if (size < 0 || size > MAX_FILE_BYTES)
    throw invalid(`${show(path)} in the tar claims a size of ${size} bytes`);
  for (const id of [fields.uid, fields.gid]) {
    if (id < 0 || id > MAX_ID) throw invalid(`${show(path)} in the tar has the owner id ${id}`);
  }
  return {
    ...fields,
    type,
    size,
    linkPath: type === "symlink" || type === "hard-link" ? fields.linkPath : "",
    mode: header.mode & 0o7777,
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
    xattrs,
  };
}

type Mutable = {
  -readonly [K in
    | "path"
    | "linkPath"
    | "uid"
    | "gid"
    | "size"
    | "mtimeSeconds"
    | "mtimeNanoseconds"]: TarEntry[K];
};

function applyRecord(fields: Mutable, xattrs: Map<ByteString, Buffer>, key: ByteString, value: Buffer): void {
  if (key.startsWith(XATTR_PREFIX)) {
    xattrs.set(key.slice(XATTR_PREFIX.length), value);
    return;
  }
  if (key.startsWith("GNU.sparse.") || key.startsWith("SCHILY.acl.")) {
    throw invalid(`${show(fields.path)} in the tar uses ${show(key)}, which is not supported`);
  }
  if (value.length === 0) return; // POSIX: an empty value takes the record back.
  switch (key) {
    case "path":
      fields.path = value.toString("latin1");
      break;
    case "linkpath":
      fields.linkPath = value.toString("latin1");
      break;
    case "uid":
      fields.uid = paxInteger(key, value);
      break;
    case "gid":
      fields.gid = paxInteger(key, value);
      break;
    case "size":
      fields.size = paxInteger(key, value);
      break;
    case "mtime": {
      const time = paxTime(key, value);
      fields.mtimeSeconds = time.seconds;
      fields.mtimeNanoseconds = time.nanoseconds;
      break;
    }
    default: // Times and names that an image does not keep, comments, other vendors' notes.
  }
}

function checkPath(path: ByteString, what: string): void {
  if (path.length > MAX_PATH_BYTES) {
    throw invalid(`${show(path)} in the tar: the ${what} is longer than ${MAX_PATH_BYTES} bytes`);
  }
  if (path.includes("\0")) throw invalid(`${show(path)} in the tar: the ${what} has a NUL byte`);
}
