import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { KilnError } from "../../errors.ts";
import { compressChunk, decodeChunk } from "./chunk.ts";
import { digestOf } from "./digest.ts";
import { decodeImageManifest, encodeImageManifest, type ImageManifest } from "./image-manifest.ts";
import { decodeTemplateManifest } from "./template-manifest.ts";

const DOCS = join(import.meta.dirname, "../../../../../docs/store.md");

/** The image that docs/store.md describes: a block of "k", two blocks of zeros, 100 bytes of "z". */
const FIRST = Buffer.alloc(4096, "k");
const LAST = Buffer.alloc(100, "z");
const PACK = Buffer.concat([FIRST, LAST]);
const VECTOR: ImageManifest = {
  sizeBytes: 3 * 4096 + 100,
  packs: [{ digest: digestOf(PACK), length: PACK.length }],
  chunks: [
    { digest: digestOf(FIRST), block: 0, blocks: 1, pack: 0, offset: 0, stored: 4096, raw: true },
    { digest: digestOf(LAST), block: 3, blocks: 1, pack: 0, offset: 4096, stored: 100, raw: true },
  ],
};

const isDamage = (error: unknown) => error instanceof KilnError && error.code === "STORE_DAMAGED";

test("an image manifest is what docs/store.md says", async () => {
  const [, hex = ""] = /```vector\n([0-9a-f\s]+)```/.exec(await readFile(DOCS, "utf8")) ?? [];
  const bytes = Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
  assert.equal(encodeImageManifest(VECTOR).toString("hex"), bytes.toString("hex"));
  assert.deepEqual(decodeImageManifest(bytes, "vector"), VECTOR);
});

test("a manifest with anything altered is read as something possible, or refused", () => {
  const good = encodeImageManifest(VECTOR);
  for (let at = 0; at < good.length; at++) {
    for (const mask of [1, 0x80, 0xff]) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ mask;
      try {
        const { sizeBytes, packs, chunks } = decodeImageManifest(bad, "altered");
        for (const chunk of chunks) {
          assert.ok((chunk.block + chunk.blocks - 1) * 4096 < sizeBytes);
          assert.ok(chunk.offset + chunk.stored <= (packs[chunk.pack]?.length ?? -1));
        }
      } catch (error) {
        assert.ok(isDamage(error), String(error));
      }
    }
  }
  for (let length = 0; length < good.length; length++) {
    assert.throws(() => decodeImageManifest(good.subarray(0, length), "cut"), isDamage);
  }
});

test("a chunk is unpacked to what its address says, and to no more than its length", async () => {
  for (const content of [
    FIRST,
    LAST,
    Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 7919) % 251)),
  ]) {
    const stored = compressChunk(content);
    const expected = { digest: digestOf(content), length: content.length };
    assert.ok(content.equals(await decodeChunk(stored, expected, "chunk")));
    await assert.rejects(decodeChunk(stored, { ...expected, length: content.length - 1 }, "chunk"), isDamage);
    await assert.rejects(decodeChunk(stored, { ...expected, digest: digestOf(PACK) }, "chunk"), isDamage);
    const bad = Buffer.from(stored.bytes);
    bad[bad.length - 1] = (bad[bad.length - 1] ?? 0) ^ 1;
    await assert.rejects(decodeChunk({ ...stored, bytes: bad }, expected, "chunk"), isDamage);
  }
  const bomb = compressChunk(Buffer.alloc(64 * 1024 * 1024));
  await assert.rejects(decodeChunk(bomb, { digest: digestOf(FIRST), length: 4096 }, "bomb"), isDamage);
});

test("a template manifest names nothing outside its own folders", () => {
  for (const folder of ["../../etc", "rootfs/../x", "locks", `rootfs/${"0".repeat(64)}/..`]) {
    const content = JSON.stringify({ format: 1, folders: { [folder]: {} } });
    assert.throws(() => decodeTemplateManifest(Buffer.from(content), "hostile"), isDamage);
  }
  for (const text of ["", "{", "[]", "null"]) {
    assert.throws(() => decodeTemplateManifest(Buffer.from(text), "hostile"), isDamage);
  }
});
