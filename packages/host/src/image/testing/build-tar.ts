import type { ByteString } from "../byte-string.ts";

const BLOCK = 512;

/** Fields of a hand-made tar member. What is left out is what an ordinary file has. */
export interface RawMember {
  path?: ByteString;
  /** Type flag. @default "0" */
  type?: string;
  linkPath?: ByteString;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  major?: number;
  minor?: number;
  content?: Uint8Array;
  /** What the size field says, if not the content's length. */
  size?: number;
  /** Puts fields in place by hand, before the checksum is taken. */
  edit?: (header: Buffer) => void;
  /** Records of a PAX header before the member. */
  pax?: Record<string, string | Buffer>;
}

/** A whole archive: members byte by byte as wanted, right or wrong, and the end marker. */
export function buildTar(...members: RawMember[]): Buffer {
  return Buffer.concat([...members.map(tarMember), Buffer.alloc(2 * BLOCK)]);
}

/** One member: its PAX header where it has one, its header, its content and padding. */
export function tarMember(member: RawMember): Buffer {
  const content = member.content ?? Buffer.alloc(0);
  const parts: Uint8Array[] = [];
  if (member.pax) parts.push(tarMember({ path: "pax", type: "x", content: paxBody(member.pax) }));
  parts.push(header(member, member.size ?? content.length), content);
  parts.push(Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK));
  return Buffer.concat(parts);
}

/** The body of a PAX header. */
export function paxBody(records: Record<string, string | Buffer>): Buffer {
  return Buffer.concat(
    Object.entries(records).map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`, "latin1"), Buffer.from(value), Buffer.from("\n")]);
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length++;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}

function header(member: RawMember, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  block.write(member.path ?? "file", 0, 100, "latin1");
  octal(member.mode ?? 0o644, 100, 8);
  octal(member.uid ?? 0, 108, 8);
  octal(member.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(member.mtime ?? 0, 136, 12);
  block.write(member.type ?? "0", 156, "latin1");
  block.write(member.linkPath ?? "", 157, 100, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  octal(member.major ?? 0, 329, 8);
  octal(member.minor ?? 0, 337, 8);
  member.edit?.(block);
  sealHeader(block);
  return block;
}

/** Puts the right checksum into a header that was changed. */
export function sealHeader(block: Buffer): void {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += block[i] ?? 0;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}
