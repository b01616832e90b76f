import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KilnError } from "../../../errors.ts";
import { MemoryFile } from "./memory-file.ts";
import { PAGE_BYTES } from "./ram-block.ts";
import { MigrationSplitter } from "./split.ts";
import {
  announcement,
  buildStream,
  type SampleStream,
  sampleHeader,
  sampleStream,
  u32,
} from "./testing/stream-builder.ts";

const MAIN = { name: "memory", bytes: 16 * PAGE_BYTES };

/** Pushes a stream in pieces of `size` bytes; gives memory by offset, and the state. */
function split(stream: Buffer, size = stream.length): { pages: Map<number, Buffer>; state: Buffer } {
  const pages = new Map<number, Buffer>();
  const splitter = new MigrationSplitter(MAIN, {
    page: (offset, data) => pages.set(offset, Buffer.from(data)),
    zeroPage: (offset) => pages.set(offset, Buffer.alloc(PAGE_BYTES)),
  });
  for (let at = 0; at < stream.length; at += size) splitter.push(stream.subarray(at, at + size));
  return { pages, state: splitter.finish() };
}

test("memory and state come apart, however the stream is cut", () => {
  const sample = sampleStream();
  const stream = buildStream(sample);
  for (const size of [1, 7, 4095, 4096, 4097, 65_536]) {
    const { pages, state } = split(stream, size);
    assert.deepEqual(state, buildStream(sample, MAIN.name), `in pieces of ${size}`);
    assert.deepEqual(
      [...pages.keys()].sort((a, b) => a - b),
      [0, 1, 2, 3, 9, 10, 15].map((index) => index * PAGE_BYTES),
    );
    assert.ok(
      pages.get(2 * PAGE_BYTES)?.every((byte) => byte === 0),
      "the later page did not win",
    );
    assert.ok(pages.get(10 * PAGE_BYTES)?.every((byte) => byte === 0xaa));
    assert.equal(pages.get(3 * PAGE_BYTES)?.toString("latin1", 0, 8), "page 33 ");
  }
});

test("memory becomes a sparse file with every page in its place, the last one that came", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kiln-memory-"));
  try {
    const path = join(folder, "memory");
    {
      await using file = await MemoryFile.create(path, MAIN.bytes);
      const splitter = new MigrationSplitter(MAIN, file);
      splitter.push(buildStream(sampleStream()));
      await file.finish();
    }
    const expected = Buffer.alloc(MAIN.bytes);
    for (const [offset, data] of split(buildStream(sampleStream())).pages) data.copy(expected, offset);
    assert.deepEqual(await readFile(path), expected);
    const { blocks } = await stat(path);
    assert.ok(blocks * 512 < MAIN.bytes, `${blocks} blocks: there are no holes in it`);
    await assert.rejects(MemoryFile.create(path, MAIN.bytes), { code: "EEXIST" });
  } finally {
    await rm(folder, { recursive: true });
  }
});

const refused = (stream: Buffer, reason: RegExp) =>
  assert.throws(
    () => split(stream),
    (error) => error instanceof KilnError && error.code === "VM_FAILED" && reason.test(error.message),
    `${reason}`,
  );

test("a stream that is cut before memory is over is refused wherever it is cut", () => {
  const sample = sampleStream();
  const stream = buildStream({ ...sample, devices: Buffer.alloc(0) });
  for (let length = 0; length < stream.length; length += length < 400 ? 1 : 997) {
    refused(stream.subarray(0, length), /it was cut/);
  }
});

test("what no known QEMU sends is refused with a word on what it is", () => {
  const sample = sampleStream();
  const [memory, bios] = sample.blocks;
  assert.ok(memory && bios);
  const pages = (...records: SampleStream["sections"][0][number][]) =>
    buildStream({ ...sample, sections: [records] });
  const page = { block: "memory", offset: 0, content: Buffer.alloc(PAGE_BYTES) };
  const stream = buildStream(sample);
  /** The stream with bytes put in place of those `at`. */
  const patched = (at: number, bytes: Buffer) =>
    Buffer.concat([stream.subarray(0, at), bytes, stream.subarray(at + bytes.length)]);
  const firstPage = sampleHeader.length + announcement(sample.blocks).length + 5;
  refused(patched(0, Buffer.from("QEVN")), /another magic number/);
  refused(patched(4, u32(4)), /version 4/);
  refused(patched(9, u32(2 ** 31)), /machine's name has 2147483648 bytes/);
  refused(patched(sampleHeader.indexOf("x-ignore"), Buffer.from("y")), /capability "y-ignore-shared"/);
  refused(patched(sampleHeader.length, Buffer.from([0x04])), /0x4 where memory should be/);
  refused(patched(stream.indexOf("\x03ram") + 1, Buffer.from("rom")), /section "rom"/);
  refused(patched(firstPage - 5, Buffer.from([0x01])), /0x1 where memory should go on/);
  refused(patched(firstPage - 4, u32(3)), /section 3 was not started/);
  // XBZRLE, compressed and multifd records, and flags nobody has given a meaning.
  for (const flag of [0x40, 0x80, 0x100, 0x200, 0x400]) {
    refused(patched(firstPage + 4, u32(flag)), new RegExp(`record 0x${flag.toString(16)}`));
  }
  refused(patched(firstPage + 4, u32(0x28)), /first page is of no block/);
  refused(pages({ ...page, block: "vga.vram" }), /"vga.vram" was not announced/);
  refused(pages({ ...page, offset: memory.bytes }), /a page is at 65536 of 65536 bytes/);
  refused(pages({ ...page, offset: 2 ** 52 }), /a page is at/);
  refused(pages({ ...page, block: bios.name, offset: bios.bytes }), /a page is at 8192 of 8192 bytes/);
  const announced = (...blocks: SampleStream["blocks"][number][]) => buildStream({ ...sample, blocks });
  refused(announced(bios), /"memory" is not in it/);
  refused(announced(memory, memory), /comes twice/);
  refused(announced({ ...memory, bytes: memory.bytes * 2 }), /has 131072 bytes in it, and 65536 outside/);
  refused(announced({ ...bios, bytes: 0 }, memory), /"pc.bios" has 0 bytes/);
  refused(
    announced(memory, ...Array.from({ length: 64 }, (_, index) => ({ name: `b${index}`, bytes: 4096 }))),
    /too many blocks/,
  );
  refused(announced(memory, { name: "", bytes: 4096 }), /empty name/);
  refused(Buffer.concat([stream, Buffer.alloc(65 * 1024 * 1024)]), /device state has no end/);
});
