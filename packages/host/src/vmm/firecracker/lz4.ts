/** First bytes of the format, little-endian. */
export const LZ4_LEGACY_MAGIC = 0x184c2102;
/** Every block but the last holds so much (lz4_Frame_format.md, "Legacy frame"). */
const BLOCK_BYTES = 8 * 1024 * 1024;
const MIN_MATCH = 4;
/** A length of 15 goes on in further bytes, as long as they are 255. */
const LONG = 15;

/**
 * Decompresses the format `lz4 -l` writes, which Linux's build uses: blocks, each after its length in 4 bytes.
 * @throws RangeError when it is damaged.
 */
export function decodeLz4Legacy(input: Buffer): Buffer {
  const blocks: Buffer[] = [];
  let at = 4;
  while (at + 4 <= input.length) {
    const length = input.readUInt32LE(at);
    at += 4;
    if (length === 0 || length > input.length - at)
      throw new RangeError("an LZ4 block reaches beyond the end");
    blocks.push(decodeBlock(input.subarray(at, at + length)));
    at += length;
  }
  return Buffer.concat(blocks);
}

/** Sequences of a token, literals and a match before the end (lz4_Block_format.md). */
function decodeBlock(input: Buffer): Buffer {
  const output = Buffer.allocUnsafe(BLOCK_BYTES);
  let from = 0;
  let to = 0;
  const next = (): number => {
    const byte = input[from++];
    if (byte === undefined) throw new RangeError("an LZ4 block ends too soon");
    return byte;
  };
  const long = (length: number): number => {
    if (length !== LONG) return length;
    let whole = length;
    for (let more = 255; more === 255; whole += more) more = next();
    return whole;
  };
  while (from < input.length) {
    const token = next();
    const literals = long(token >> 4);
    if (literals > input.length - from || literals > BLOCK_BYTES - to)
      throw new RangeError("LZ4 literals are too long");
    input.copy(output, to, from, from + literals);
    from += literals;
    to += literals;
    // The last sequence has no match.
    if (from === input.length) break;
    const distance = next() | (next() << 8);
    const match = long(token & 15) + MIN_MATCH;
    if (distance === 0 || distance > to || match > BLOCK_BYTES - to)
      throw new RangeError("an LZ4 match is out of range");
    if (distance >= match) output.copy(output, to, to - distance, to - distance + match);
    else for (let index = 0; index < match; index++) output[to + index] = output[to - distance + index] ?? 0;
    to += match;
  }
  return output.subarray(0, to);
}
