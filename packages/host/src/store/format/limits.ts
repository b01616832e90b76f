/** Unit of everything in an image manifest, in bytes: the block of the guest's ext4, and a page of its memory. */
export const BLOCK = 4096;

/** Largest image: that of the largest disk, in bytes. */
export const MAX_IMAGE_BYTES = 2 ** 40;

/** Most blocks of one chunk. A reader sets aside no more memory for a chunk than this. */
export const MAX_CHUNK_BLOCKS = 1024;

/** Largest pack, in bytes. */
export const MAX_PACK_BYTES = 64 * 1024 * 1024;

/** Most packs an image lies in. */
export const MAX_PACKS = 65_535;

/** Largest image manifest, in bytes: more than a million chunks. */
export const MAX_IMAGE_MANIFEST_BYTES = 64 * 1024 * 1024;

/** Largest template manifest, in bytes, as JSON. */
export const MAX_TEMPLATE_MANIFEST_BYTES = 4 * 1024 * 1024;

/** Largest of all other objects: tags, signatures, traces, in bytes. */
export const MAX_SMALL_OBJECT_BYTES = 1024 * 1024;
