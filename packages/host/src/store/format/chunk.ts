import { promisify } from "node:util";
import { constants, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "node:zlib";
import { type Digest, damaged, digestOf } from "./digest.ts";

const decompress = promisify(zstdDecompress);

/** The next levels save 4 and 6 % and cost one and a half times and twice the time: docs/store.md has figures. */
const LEVEL = 1;

export interface StoredChunk {
  bytes: Uint8Array;
  /** Whether `bytes` are the content itself. */
  raw: boolean;
}

/** What a chunk has to be. */
export interface ExpectedChunk {
  digest: Digest;
  /** Of its content, in bytes: no more are ever unpacked. */
  length: number;
}

/** A chunk's content as it is stored. */
export function compressChunk(content: Uint8Array): StoredChunk {
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
  const bytes = zstdCompressSync(content, { params, pledgedSrcSize: content.length });
  return bytes.length < content.length ? { bytes, raw: false } : { bytes: content, raw: true };
}

/** The content of a chunk as it was stored, checked against its address, or why it is none. */
export function unpackChunk(
  { bytes, raw }: StoredChunk,
  expected: ExpectedChunk,
): { content: Uint8Array } | { why: string } {
  let content = bytes;
  if (!raw) {
    try {
      content = zstdDecompressSync(bytes, limits(expected));
    } catch {
      return NOT_UNPACKED;
    }
  }
  const why = faultOf(content, expected);
  return why === undefined ? { content } : { why };
}

/**
 * As `unpackChunk`, without holding up whoever calls.
 * @param what names the chunk in errors.
 * @throws KilnError `STORE_DAMAGED`.
 */
export async function decodeChunk(
  { bytes, raw }: StoredChunk,
  expected: ExpectedChunk,
  what: string,
): Promise<Uint8Array> {
  let content = bytes;
  if (!raw) {
    try {
      content = await decompress(bytes, limits(expected));
    } catch (cause) {
      throw damaged(what, NOT_UNPACKED.why, cause);
    }
  }
  const why = faultOf(content, expected);
  if (why !== undefined) throw damaged(what, why);
  return content;
}

const NOT_UNPACKED = { why: "it cannot be unpacked" };

/** Least and most memory that zlib takes at once, in bytes: a chunk as Kiln cuts it is unpacked in one piece. */
const PIECE = { min: 64, max: 256 * 1024 };
const limits = ({ length }: ExpectedChunk) => ({
  maxOutputLength: length,
  chunkSize: Math.max(PIECE.min, Math.min(length, PIECE.max)),
});

function faultOf(content: Uint8Array, { digest, length }: ExpectedChunk): string | undefined {
  if (content.length !== length) return "it has another length";
  return digestOf(content) === digest ? undefined : "its content is not what its address says";
}
