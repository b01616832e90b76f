import { promisify } from "node:util";
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import { checkDigest, damaged } from "./digest.ts";

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** zstd's own default: higher levels save some per cent and cost many times the time. docs/store.md has figures. */
const LEVEL = 3;

export interface StoredChunk {
  bytes: Buffer;
  /** Whether `bytes` are the content itself. */
  raw: boolean;
}

/** A chunk's content as it is stored. */
export async function encodeChunk(content: Buffer): Promise<StoredChunk> {
  const bytes = await compress(content, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
  return bytes.length < content.length ? { bytes, raw: false } : { bytes: content, raw: true };
}

/**
 * The content of a chunk as it was stored, checked against its address. No more than `length` bytes are ever unpacked.
 * @param what names the chunk in errors.
 * @throws KilnError `STORE_DAMAGED`.
 */
export async function decodeChunk(
  { bytes, raw }: StoredChunk,
  expected: { digest: string; length: number },
  what: string,
): Promise<Buffer> {
  let content = bytes;
  if (!raw) {
    try {
      content = await decompress(bytes, { maxOutputLength: expected.length });
    } catch (cause) {
      throw damaged(what, "it cannot be unpacked", cause);
    }
  }
  if (content.length !== expected.length) throw damaged(what, "it has another length");
  return checkDigest(what, content, expected.digest);
}
