import { PAGE_BYTES } from "../ram-block.ts";

/** What a stream for tests consists of. Each entry of `records` is one page. */
export interface SampleStream {
  blocks: readonly { name: string; bytes: number }[];
  /** Pages by section; the last section is the end of memory. */
  sections: readonly (readonly SamplePage[])[];
  /** What stands for devices. */
  devices: Buffer;
}

export interface SamplePage {
  block: string;
  offset: number;
  /** A page, or the value of all its bytes. */
  content: Buffer | number;
}

const SECTION = 2;

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: number): Buffer =>
  Buffer.concat([u32(Math.floor(value / 2 ** 32)), u32(value % 2 ** 32)]);
const name = (text: string): Buffer =>
  Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
const byte = (value: number): Buffer => Buffer.from([value]);
const footer = Buffer.concat([byte(0x7e), u32(SECTION)]);
const end = u64(0x10);

/** Magic, version and configuration, as far as memory's section. */
export const sampleHeader = Buffer.concat([
  Buffer.from("QEVM"),
  u32(3),
  ...[byte(0x07), u32(7), Buffer.from("microvm")],
  ...[byte(0x05), name("configuration/capabilities"), u32(1), u32(1), name("x-ignore-shared")],
]);

export function announcement(blocks: SampleStream["blocks"]): Buffer {
  const total = blocks.reduce((sum, { bytes }) => sum + bytes, 0);
  const each = blocks.flatMap((block) => [name(block.name), u64(block.bytes), u64(0)]);
  const start = Buffer.concat([byte(0x01), u32(SECTION), name("ram"), u32(0), u32(4)]);
  return Buffer.concat([start, u64(total + 0x04), ...each, end, footer]);
}

/**
 * One stream as QEMU would write it; a page of the same block as the one before says so.
 * @param without a block whose pages are left out of the finished stream.
 */
export function buildStream({ blocks, sections, devices }: SampleStream, without?: string): Buffer {
  const parts = [sampleHeader, announcement(blocks)];
  let last: string | undefined;
  for (const [index, pages] of sections.entries()) {
    parts.push(byte(index === sections.length - 1 ? 0x03 : 0x02), u32(SECTION));
    for (const { block, offset, content } of pages) {
      const flags = (typeof content === "number" ? 0x02 : 0x08) + (block === last ? 0x20 : 0);
      const named = block === last ? [] : [name(block)];
      last = block;
      if (block === without) continue;
      parts.push(u64(offset + flags), ...named, typeof content === "number" ? byte(content) : content);
    }
    parts.push(end, footer);
  }
  return Buffer.concat([...parts, devices]);
}

/** A stream of 16 pages of guest memory and two of firmware, in three sections. */
export function sampleStream(): SampleStream {
  const page = (value: number) => Buffer.alloc(PAGE_BYTES, `page ${value} `);
  const main = (index: number, content: Buffer | number): SamplePage => ({
    block: "memory",
    offset: index * PAGE_BYTES,
    content,
  });
  const bios = (index: number): SamplePage => ({
    block: "pc.bios",
    offset: index * PAGE_BYTES,
    content: page(100 + index),
  });
  return {
    blocks: [
      { name: "memory", bytes: 16 * PAGE_BYTES },
      { name: "pc.bios", bytes: 2 * PAGE_BYTES },
    ],
    sections: [
      [main(0, page(0)), main(1, 0), main(2, page(2)), main(3, page(3)), bios(0)],
      [bios(1), main(9, page(9)), main(10, 0xaa), main(15, page(15))],
      [main(2, 0), main(3, page(33))],
    ],
    devices: Buffer.from("\x04devices, of which nothing needs to be known\x00"),
  };
}
