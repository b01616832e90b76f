import type { ByteString } from "../byte-string.ts";
import { compareBytes, show } from "../byte-string.ts";
import { invalid } from "../invalid.ts";
import { EXTRA_ISIZE } from "./encode-inode.ts";
import { BLOCK_SIZE, INODE_SIZE } from "./layout.ts";
import { encodePosixAcl } from "./posix-acl.ts";

const MAGIC = 0xea020000;
const ENTRY_HEADER_SIZE = 16;
const BLOCK_HEADER_SIZE = 32;
/** Four zero bytes end the list of entries. */
const END_SIZE = 4;
/** The space between an inode's fields and its end. */
const INODE_SPACE = INODE_SIZE - 128 - EXTRA_ISIZE;
const INODE_HEADER_SIZE = 4;
const MAX_NAME_BYTES = 255;

const PREFIXES: readonly { prefix: string; index: number }[] = [
  { prefix: "user.", index: 1 },
  { prefix: "trusted.", index: 4 },
  { prefix: "security.", index: 6 },
];
const ACL_INDEX: Readonly<Record<string, number>> = {
  "system.posix_acl_access": 2,
  "system.posix_acl_default": 3,
};

/** An attribute as ext4 stores it: the name without the prefix that the index stands for. */
interface Attribute {
  readonly index: number;
  readonly name: ByteString;
  readonly value: Buffer;
}

/** Where an inode's attributes go: behind its fields, or into a block of their own. */
export interface EncodedXattrs {
  readonly inline: Buffer | undefined;
  readonly block: Buffer | undefined;
}

/**
 * Encodes the extended attributes of the inode at `path` (kernel documentation, "Extended Attributes").
 * @throws KilnError `IMAGE_INVALID` for attributes that ext4 has no place for.
 */
export function encodeXattrs(path: ByteString, xattrs: ReadonlyMap<ByteString, Buffer>): EncodedXattrs {
  if (xattrs.size === 0) return { inline: undefined, block: undefined };
  const attributes = [...xattrs]
    .map(([name, value]) => toAttribute(path, name, value))
    .sort((a, b) => a.index - b.index || a.name.length - b.name.length || compareBytes(a.name, b.name));
  const size = attributes.reduce(
    (sum, { name, value }) => sum + entrySize(name) + pad4(value.length),
    END_SIZE,
  );
  if (INODE_HEADER_SIZE + size <= INODE_SPACE) return { inline: encodeInline(attributes), block: undefined };
  if (BLOCK_HEADER_SIZE + size <= BLOCK_SIZE) return { inline: undefined, block: encodeBlock(attributes) };
  throw invalid(`the extended attributes of ${show(path)} take ${size} bytes, more than one block`);
}

function toAttribute(path: ByteString, fullName: ByteString, value: Buffer): Attribute {
  const refuse = (why: string) => invalid(`the extended attribute ${show(fullName)} of ${show(path)} ${why}`);
  const aclIndex = ACL_INDEX[fullName];
  if (aclIndex !== undefined) {
    const acl = encodePosixAcl(value);
    if (acl === undefined) throw refuse("is not a POSIX ACL");
    return { index: aclIndex, name: "", value: acl };
  }
  const known = PREFIXES.find(({ prefix }) => fullName.startsWith(prefix));
  if (known === undefined) throw refuse("is of no kind that can be kept");
  const name = fullName.slice(known.prefix.length);
  if (name === "" || name.length > MAX_NAME_BYTES || name.includes("\0")) throw refuse("has no valid name");
  return { index: known.index, name, value };
}

function encodeInline(attributes: readonly Attribute[]): Buffer {
  const space = Buffer.alloc(INODE_SPACE);
  space.writeUInt32LE(MAGIC, 0);
  // Here offsets count from the first entry, and hashes are not used.
  encodeEntries(space.subarray(INODE_HEADER_SIZE), 0, attributes, () => 0);
  return space;
}

function encodeBlock(attributes: readonly Attribute[]): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  block.writeUInt32LE(MAGIC, 0x00);
  block.writeUInt32LE(1, 0x04); // Inodes that use this block.
  block.writeUInt32LE(1, 0x08); // Blocks.
  const hashes = encodeEntries(block, BLOCK_HEADER_SIZE, attributes, entryHash);
  block.writeUInt32LE(blockHash(hashes), 0x0c);
  return block;
}

/** Entries from `first` upwards, their values from the end of `space` downwards. Returns the entries' hashes. */
function encodeEntries(
  space: Buffer,
  first: number,
  attributes: readonly Attribute[],
  hashOf: (attribute: Attribute) => number,
): number[] {
  let at = first;
  let valueAt = space.length;
  return attributes.map((attribute) => {
    const { index, name, value } = attribute;
    valueAt -= pad4(value.length);
    const hash = hashOf(attribute);
    space.writeUInt8(name.length, at);
    space.writeUInt8(index, at + 1);
    space.writeUInt16LE(value.length === 0 ? 0 : valueAt, at + 2);
    space.writeUInt32LE(value.length, at + 8);
    space.writeUInt32LE(hash, at + 12);
    space.write(name, at + ENTRY_HEADER_SIZE, "latin1");
    value.copy(space, valueAt);
    at += entrySize(name);
    return hash;
  });
}

function entryHash({ name, value }: Attribute): number {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = (hash << 5) ^ (hash >>> 27) ^ name.charCodeAt(i);
  const words = Buffer.alloc(pad4(value.length));
  value.copy(words);
  for (let at = 0; at < words.length; at += 4) hash = (hash << 16) ^ (hash >>> 16) ^ words.readUInt32LE(at);
  return hash >>> 0;
}

/** 0, which stands for "do not share this block", when an entry has no hash. */
function blockHash(hashes: readonly number[]): number {
  if (hashes.includes(0)) return 0;
  return hashes.reduce((hash, entry) => (hash << 16) ^ (hash >>> 16) ^ entry, 0) >>> 0;
}

function entrySize(name: ByteString): number {
  return pad4(ENTRY_HEADER_SIZE + name.length);
}

function pad4(size: number): number {
  return (size + 3) & ~3;
}
