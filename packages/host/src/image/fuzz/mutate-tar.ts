import { buildTar, type RawMember, sealHeader } from "../testing/build-tar.ts";
import type { SeededRandom } from "./random.ts";

const BLOCK = 512;
/** Sensible things, which may follow each other in most orders, and things that no archive should have. */
const NAMES = ["f", "g", "h", "d/f", "./d/g", "/e/f", "e/d/f", "l/f", "d", "x".repeat(99)] as const;
const BAD_NAMES = ["..", "d/../f", "/", "", "lost+found", "f/", "f/f/f", "\xff\x01"] as const;
const TYPES = ["0", "0", "0", "0", "2", "3", "6", "7", "\0"] as const;
const BAD_TYPES = ["1", "1", "4", "5", "L", "K", "g", "x", "S", "Z"] as const;
const NUMBERS = [
  "-1",
  "0",
  "00000000000000000001",
  "99999999999999999999",
  "1.5",
  "",
  "4294967295",
  "x",
] as const;
const KEYS = [
  "path",
  "linkpath",
  "size",
  "uid",
  "mtime",
  "SCHILY.xattr.user.a",
  "SCHILY.xattr.security.capability",
  "SCHILY.xattr.system.posix_acl_access",
  "SCHILY.xattr.bogus",
  "GNU.sparse.map",
  "comment",
] as const;

/** An archive that makes some sense, with names that collide and links that lead anywhere, and then is damaged or not. */
export function randomTar(random: SeededRandom): Buffer {
  const tar = buildTar(...Array.from({ length: 1 + random.below(8) }, () => randomMember(random)));
  if (random.below(3) === 0) for (let damage = random.below(3); damage >= 0; damage--) mutate(tar, random);
  return random.below(20) === 0 ? tar.subarray(0, random.below(tar.length)) : tar;
}

function randomMember(random: SeededRandom): RawMember {
  const rarely = () => random.below(12) === 0;
  const member: RawMember = {
    path: rarely() ? random.pick(BAD_NAMES) : random.pick(NAMES),
    type: rarely() ? random.pick(BAD_TYPES) : random.pick(TYPES),
    linkPath: random.pick(NAMES),
    mode: random.below(0o10000),
    major: random.below(rarely() ? 2 ** 20 : 256),
    content: Buffer.alloc(random.pick([0, 0, 1, 511, 512, 513, 5000, 70_000]), random.below(3)),
  };
  if ("23456".includes(member.type ?? "")) member.content = Buffer.alloc(0);
  if (rarely()) member.pax = { [random.pick(KEYS)]: randomValue(random) };
  return member;
}

function randomValue(random: SeededRandom): string | Buffer {
  switch (random.below(3)) {
    case 0:
      return random.pick(NUMBERS);
    case 1:
      return random.pick(NAMES);
    default:
      return Buffer.from(Array.from({ length: random.below(60) }, () => random.below(256)));
  }
}

/** Changes a few bytes anywhere, or a field of a header whose checksum is then made right again. */
function mutate(tar: Buffer, random: SeededRandom): void {
  if (random.below(3) === 0) {
    tar[random.below(tar.length)] = random.below(256);
    return;
  }
  const header = tar.subarray(random.below(tar.length / BLOCK) * BLOCK).subarray(0, BLOCK);
  const at = random.pick([0, 100, 108, 116, 124, 136, 156, 157, 257, 329, 337, 345]) + random.below(12);
  header[Math.min(at, BLOCK - 1)] = random.pick([
    0,
    0x20,
    0x2f,
    0x30,
    0x37,
    0x39,
    0x80,
    0xff,
    random.below(256),
  ]);
  sealHeader(header);
}
