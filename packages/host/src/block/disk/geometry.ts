/** Unit of copy-on-write, in bytes: the block of the guest's ext4 and the page of the host. */
export const BLOCK_SIZE = 4096;

/** Largest device, in bytes: 1 TiB, for which a map takes 64 MiB. */
export const MAX_DEVICE_SIZE = 2 ** 40;

/** Most layers between the base image and the session's own diff: a layer's number is one byte of the lower table. */
export const MAX_LAYERS = 200;

/** What a diff says of a block. Two bits each in a `BlockMap`. */
export const ABSENT = 0;
export const DATA = 1;
export const ZERO = 2;
