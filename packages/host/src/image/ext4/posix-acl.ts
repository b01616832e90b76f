const XATTR_VERSION = 2;
const DISK_VERSION = 1;
const XATTR_ENTRY_SIZE = 8;
/** Tags of the entries that name someone: on disk only they have an id. */
const NAMED_TAGS = new Set([0x02, 0x08]);
/** Owner, named user, owning group, named group, mask, others. */
const TAGS = new Set([0x01, 0x02, 0x04, 0x08, 0x10, 0x20]);

/**
 * A POSIX ACL as ext4 stores it, made from the form that programs see as the value of the xattr
 * (`struct posix_acl_xattr_header`: version 2, then tag, permissions and id for each entry).
 * Undefined when `value` is not one.
 */
export function encodePosixAcl(value: Buffer): Buffer | undefined {
  if (value.length < 4 || (value.length - 4) % XATTR_ENTRY_SIZE !== 0) return undefined;
  if (value.readUInt32LE(0) !== XATTR_VERSION) return undefined;
  const version = Buffer.alloc(4);
  version.writeUInt32LE(DISK_VERSION, 0);
  const parts: Buffer[] = [version];
  for (let at = 4; at < value.length; at += XATTR_ENTRY_SIZE) {
    const tag = value.readUInt16LE(at);
    if (!TAGS.has(tag) || value.readUInt16LE(at + 2) > 7) return undefined;
    parts.push(value.subarray(at, at + (NAMED_TAGS.has(tag) ? 8 : 4)));
  }
  return Buffer.concat(parts);
}
