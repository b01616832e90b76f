/** Bytes of one extension header's body: a PAX header with the kernel's largest xattr (64 KiB) has room many times over. */
export const MAX_EXTENSION_BYTES = 1024 * 1024;
/** Bytes of a path or of a link target, as the kernel limits them (PATH_MAX less the final NUL). */
export const MAX_PATH_BYTES = 4095;
/** Bytes of one file's content, apparent size. ext4 itself ends at 16 TiB. */
export const MAX_FILE_BYTES = 2 ** 40;
/** Entries of one archive, whatever their type. */
export const MAX_ENTRIES = 1_000_000;
/** Bytes of all paths, link targets and xattrs of one archive: they stay in memory until it is read. */
export const MAX_METADATA_BYTES = 256 * 1024 * 1024;
/** Zeros after the end marker: archives are padded to a record, 10 KiB as a rule. */
export const MAX_TRAILING_BYTES = 16 * 1024 * 1024;
/** Greatest user or group id; 2^32-1 means "none" to the kernel. */
export const MAX_ID = 0xffff_fffe;
