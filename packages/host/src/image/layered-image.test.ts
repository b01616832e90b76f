import assert from "node:assert/strict";
import { closeSync, openSync, readSync } from "node:fs";
import { copyFile, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { BLOCK_SIZE } from "./ext4/layout.ts";
import type { BlockReader } from "./ext4/parent-image.ts";
import { buildTar, type RawMember } from "./testing/build-tar.ts";
import { readImage } from "./testing/read-image.ts";
import { checkFileSystem, missing } from "./testing/tools.ts";
import { type Ext4Image, type WriteExt4ImageOptions, writeExt4Image } from "./write-ext4-image.ts";

const SIZE_BYTES = 64 * 1024 ** 2;
const skip = await missing("debugfs", "-V");

let folder = "";
let count = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kiln-layered-test-"));
});
after(() => rm(folder, { recursive: true, force: true }));

const write = (members: readonly RawMember[], options: Partial<WriteExt4ImageOptions> = {}) =>
  writeExt4Image({
    tar: Readable.from([buildTar(...members)]),
    path: join(folder, `${count++}.img`),
    sizeBytes: SIZE_BYTES,
    seed: "test",
    ...options,
  });

/** Writes `members` as a layer on `parent`; what it made, and the path of the whole as one file. */
async function writeLayer(
  parent: Ext4Image,
  members: readonly RawMember[],
  options: Partial<WriteExt4ImageOptions> = {},
): Promise<{ layer: Ext4Image; whole: string }> {
  const fd = openSync(parent.path, "r");
  const blocks: BlockReader = {
    sizeBytes: SIZE_BYTES,
    read: (block, blockCount) => {
      const bytes = Buffer.alloc(blockCount * BLOCK_SIZE);
      readSync(fd, bytes, 0, bytes.length, block * BLOCK_SIZE);
      return bytes;
    },
  };
  const layer = await write(members, { ...options, parent: { blocks, digest: parent.digest } });
  closeSync(fd);
  const whole = join(folder, `${count++}.whole`);
  await copyFile(parent.path, whole);
  await using target = await open(whole, "r+");
  await using source = await open(layer.path, "r");
  const bytes = Buffer.alloc(BLOCK_SIZE);
  for (const block of layer.changes?.data ?? []) {
    await source.read(bytes, 0, BLOCK_SIZE, block * BLOCK_SIZE);
    await target.write(bytes, 0, BLOCK_SIZE, block * BLOCK_SIZE);
  }
  for (const block of layer.changes?.zeros ?? []) {
    await target.write(Buffer.alloc(BLOCK_SIZE), 0, BLOCK_SIZE, block * BLOCK_SIZE);
  }
  return { layer, whole };
}

/** What can be seen of an image, whichever blocks and inodes it is in. */
async function contents(image: string): Promise<object> {
  const entries = [...(await readImage(image))].map(
    ([path, { inode: _, sectors: __, ...rest }]) => [path, rest] as const,
  );
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** That the layer on `parent` is a sound file system with just the files that a whole image of the archive has. */
async function assertSame(parent: Ext4Image, members: readonly RawMember[]) {
  const made = await writeLayer(parent, members);
  await checkFileSystem(made.whole);
  const plain = await write(members);
  assert.deepEqual(await contents(made.whole), await contents(plain.path));
  const again = await writeLayer(parent, members);
  assert.equal(again.layer.digest, made.layer.digest);
  assert.deepEqual(again.layer.changes, made.layer.changes);
  return made;
}

const random = (seed: number) => () => {
  // mulberry32
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
function noise(bytes: number, seed: number): Buffer {
  const next = random(seed);
  return Buffer.from(Array.from({ length: bytes }, () => Math.floor(next() * 256)));
}

const file = (path: string, content: Buffer, change: Partial<RawMember> = {}): RawMember => ({
  path,
  content,
  ...change,
});
const base: RawMember[] = [
  { path: "etc/", type: "5" },
  file("etc/passwd", Buffer.from("root:x:0:0\n")),
  file("big", noise(1_000_000, 1)),
  file(
    "holes",
    Buffer.concat([
      noise(5000, 2),
      Buffer.alloc(30 * BLOCK_SIZE),
      noise(9000, 3),
      Buffer.alloc(2 * BLOCK_SIZE),
    ]),
  ),
  ...Array.from({ length: 300 }, (_, i) => file(`many/${"name".repeat(8)}${i}`, Buffer.from(`${i}`))),
  { path: "long", type: "2", linkPath: "a/".repeat(60) },
  file("hard", noise(20_000, 4)),
  { path: "link", type: "1", linkPath: "hard" },
  file("attributes", Buffer.from("x"), { pax: { "SCHILY.xattr.user.a": "v".repeat(500) } }),
];

describe("a layer on a parent image", { skip }, () => {
  it("of the same files is nothing", async () => {
    const parent = await write(base);
    const { layer } = await assertSame(parent, base);
    assert.deepEqual(layer.changes, { data: [], zeros: [] });
    assert.equal(layer.usedBytes, parent.usedBytes);
  });

  it("costs what was added", async () => {
    const parent = await write(base);
    const { layer } = await assertSame(parent, [...base, file("new", noise(2_000_000, 9))]);
    const blocks = layer.changes?.data.length ?? 0;
    assert.ok(blocks * BLOCK_SIZE < 2_000_000 * 1.02, `${blocks} blocks`);
  });

  it("keeps what it shares when a file is changed in its middle, grows, shrinks, goes, or becomes something else", async () => {
    const parent = await write(base);
    const big = noise(1_000_000, 1);
    big.write("changed", 500_000);
    const { layer } = await assertSame(parent, [
      ...base.filter(
        ({ path = "" }) => !["big", "etc/passwd", "hard", "link", "long", "holes"].includes(path),
      ),
      file("big", big),
      { path: "etc/passwd", type: "2", linkPath: "../big" },
      { path: "hard", type: "5" },
      file("hard/link", noise(20_000, 4)),
      file("link", noise(100, 5)),
      file("holes", Buffer.concat([noise(5000, 2), Buffer.alloc(10 * BLOCK_SIZE), noise(9000, 3)])),
    ]);
    assert.ok((layer.changes?.data.length ?? 0) < 60, `${layer.changes?.data.length} blocks`);
  });

  it("takes hard links apart, and files that come twice", async () => {
    const parent = await write(base);
    const members = base.filter(({ path }) => path !== "link");
    await assertSame(parent, [
      ...members,
      file("link", noise(20_000, 4)),
      file("big", noise(4096, 7)),
      file("big", noise(1_000_000, 1)),
    ]);
  });

  it("can be of far fewer files", async () => {
    const { layer } = await assertSame(await write(base), [file("only", Buffer.from("x"))]);
    assert.ok((layer.changes?.zeros.length ?? 0) > 200);
  });

  it("of any files is what a whole image of them is", async () => {
    const next = random(Number(process.env.KILN_SEED ?? 42));
    const runs = Number(process.env.KILN_PROPERTY_RUNS ?? 6);
    for (let run = 0; run < runs; run++) {
      const some = () => {
        const members: RawMember[] = [];
        for (let i = 0; i < 40; i++) {
          const path = `${"abc"[Math.floor(next() * 3)]}/${Math.floor(next() * 30)}`;
          const size = Math.floor(next() ** 3 * 200_000);
          const kind = next();
          if (kind < 0.1)
            members.push({ path: `${path}x`, type: "2", linkPath: "y".repeat(1 + Math.floor(next() * 100)) });
          else if (kind < 0.2) members.push({ path: `${path}d/`, type: "5" });
          else if (kind < 0.4) members.push(file(path, Buffer.alloc(size, kind < 0.3 ? 0 : 1)));
          else members.push(file(path, noise(size, Math.floor(next() * 5))));
        }
        return members;
      };
      await assertSame(await write(some()), some());
    }
  });
});
