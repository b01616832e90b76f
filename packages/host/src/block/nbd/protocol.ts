/**
 * The numbers of the NBD protocol that Kiln speaks: the "fixed newstyle" handshake, simple and structured replies.
 * Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. All fields are big-endian.
 */

/** "NBDMAGIC" and "IHAVEOPT", the two greetings, as two 32-bit words each. */
export const INIT_MAGIC = [0x4e42444d, 0x41474943] as const;
export const OPTION_MAGIC = [0x49484156, 0x454f5054] as const;
export const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** Handshake flags, the same bits in both directions. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;

export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

export const OptionReply = {
  ACK: 1,
  INFO: 3,
  META_CONTEXT: 4,
  UNSUPPORTED: 0x80000001,
  POLICY: 0x80000002,
  INVALID: 0x80000003,
  UNKNOWN: 0x80000006,
  TOO_BIG: 0x80000009,
} as const;

export const Info = { EXPORT: 0, BLOCK_SIZE: 3 } as const;

export const TransmissionFlag = {
  HAS_FLAGS: 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_FAST_ZERO: 1 << 11,
} as const;

export const Command = {
  READ: 0,
  WRITE: 1,
  DISCONNECT: 2,
  FLUSH: 3,
  TRIM: 4,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;

export const CommandFlag = { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16 } as const;

export const Chunk = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2, BLOCK_STATUS: 5, ERROR: 0x8001 } as const;
export const CHUNK_DONE = 1;

/** Bits of a `base:allocation` extent. */
export const EXTENT_HOLE = 1;
export const EXTENT_ZERO = 2;

/** Error numbers on the wire, a subset of Linux's. */
export const NbdError = { EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, ENOSPC: 28, EOVERFLOW: 75 } as const;

export const REQUEST_SIZE = 28;
export const SIMPLE_REPLY_SIZE = 16;
export const CHUNK_HEADER_SIZE = 20;

/** Longest read or write, in bytes: what clients may count on without asking, and what Kiln announces. */
export const MAX_PAYLOAD = 32 * 1024 * 1024;
/** Longest export name, in bytes. The protocol's own limit. */
export const MAX_NAME = 4096;
/** Longest option a client may send, in bytes: a name and a few queries. */
export const MAX_OPTION = 16 * 1024;
/** Most options in one handshake. Real clients send under ten. */
export const MAX_OPTIONS = 64;
/** The one metadata context there is, and the number it has on every connection. */
export const ALLOCATION_CONTEXT = "base:allocation";
export const ALLOCATION_CONTEXT_ID = 1;
