import type { ByteString } from "../byte-string.ts";

/** Bytes of a name that go into one round. */
const ROUND_BYTES = 32;
/** The greatest hash, kept for "end of directory". */
const END_OF_DIRECTORY = 0xfffffffe;

/**
 * The hash by which a big directory is ordered: MD4 cut down to three rounds of eight steps over 32 bytes of the name
 * at a time, seeded per file system. This is ext4's "half MD4, unsigned" (hash version 4); bit 0 is always clear.
 *
 * @param seed four 32-bit words, not all zero
 */
export function halfMd4(name: ByteString, seed: readonly number[]): number {
  let [a = 0, b = 0, c = 0, d = 0] = seed;
  const words = new Uint32Array(ROUND_BYTES / 4);
  for (let at = 0; at < name.length; at += ROUND_BYTES) {
    loadWords(words, name, at);
    [a, b, c, d] = compress(words, a, b, c, d);
  }
  const hash = (b & ~1) >>> 0;
  return hash === END_OF_DIRECTORY ? END_OF_DIRECTORY - 2 : hash;
}

/** Up to 32 bytes of the name from `at` on, big-endian in words, filled up with the length of what is left of it. */
function loadWords(words: Uint32Array, name: ByteString, at: number): void {
  const left = name.length - at;
  const pad = (left * 0x01010101) >>> 0;
  const taken = Math.min(left, ROUND_BYTES);
  for (let word = 0; word < words.length; word++) {
    let value = pad;
    for (let i = word * 4; i < Math.min(word * 4 + 4, taken); i++)
      value = (value << 8) + name.charCodeAt(at + i);
    words[word] = value;
  }
}

const choose = (x: number, y: number, z: number) => z ^ (x & (y ^ z));
const majority = (x: number, y: number, z: number) => (x & y) + ((x ^ y) & z);
const parity = (x: number, y: number, z: number) => x ^ y ^ z;

/** MD4's rounds, each with its function, its constant (square roots of 2 and 3), its word order and its rotations. */
const ROUNDS = [
  { mix: choose, constant: 0, order: [0, 1, 2, 3, 4, 5, 6, 7], rotations: [3, 7, 11, 19] },
  { mix: majority, constant: 0x5a827999, order: [1, 3, 5, 7, 0, 2, 4, 6], rotations: [3, 5, 9, 13] },
  { mix: parity, constant: 0x6ed9eba1, order: [3, 7, 2, 6, 1, 5, 0, 4], rotations: [3, 9, 11, 15] },
] as const;

function compress(
  words: Uint32Array,
  a0: number,
  b0: number,
  c0: number,
  d0: number,
): [number, number, number, number] {
  let [a, b, c, d] = [a0, b0, c0, d0];
  for (const { mix, constant, order, rotations } of ROUNDS) {
    for (const [step, word] of order.entries()) {
      const sum = (a + mix(b, c, d) + (words[word] ?? 0) + constant) | 0;
      const turn = rotations[step % 4] ?? 0;
      [a, b, c, d] = [d, (sum << turn) | (sum >>> (32 - turn)), b, c];
    }
  }
  return [(a0 + a) | 0, (b0 + b) | 0, (c0 + c) | 0, (d0 + d) | 0];
}
