import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import fc from "fast-check";
import { pack } from "tar-stream";
import { fromText } from "./byte-string.ts";
import { digestImage } from "./image-digest.ts";
import { readImage } from "./testing/read-image.ts";
import { checkFileSystem, missing } from "./testing/tools.ts";
import { writeExt4Image } from "./write-ext4-image.ts";

/** Names that collide often, are long, or are not ASCII. Newlines are left to a test that needs no listing by debugfs. */
const name = fc.oneof(
  fc.constantFrom("a", "b", "c", "lib", ".hidden", "-x", "with space", "é", "日本"),
  fc.stringMatching(/^[a-z]{1,3}$/),
  fc.integer({ min: 90, max: 255 }).map((n) => "n".repeat(n)),
);

/** Content with runs of zeros of all sizes around the block's. */
const content = fc
  .array(
    fc.record({
      bytes: fc.constantFrom(0, 1, 100, 4095, 4096, 4097, 70_000),
      fill: fc.constantFrom(0, 0, 1, 255),
    }),
    { maxLength: 5 },
  )
  .map((parts) => Buffer.concat(parts.map(({ bytes, fill }) => Buffer.alloc(bytes, fill))));

const node = fc.record({
  directories: fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 3 }),
  name,
  kind: fc.constantFrom("file", "file", "file", "directory", "symlink", "hard-link", "fifo"),
  content,
  mode: fc.integer({ min: 1, max: 0o7777 }), // tar-stream takes 0 as "not given".
  uid: fc.integer({ min: 0, max: 0o777_777 }),
  mtime: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  target: fc.integer({ min: 1, max: 200 }).map((n) => "t".repeat(n)),
  xattrs: fc.dictionary(fc.stringMatching(/^[a-z]{1,20}$/), fc.string({ maxLength: 300 }), { maxKeys: 3 }),
});
type Node = typeof node extends fc.Arbitrary<infer T> ? T : never;

interface Expected extends Node {
  path: string;
  /** The path whose inode this is. */
  inodeOf: string;
}

/** The nodes that fit together: none below a file, no path twice, hard links to files only. */
function plan(nodes: readonly Node[]): Expected[] {
  const taken = new Map<string, Expected>();
  const files: Expected[] = [];
  for (const candidate of nodes) {
    const path = [...candidate.directories, candidate.name].join("/");
    const blocked = candidate.directories.some((_, i) => {
      const parent = taken.get(candidate.directories.slice(0, i + 1).join("/"));
      return parent !== undefined && parent.kind !== "directory";
    });
    const isParent = [...taken.keys()].some((other) => other.startsWith(`${path}/`));
    if (blocked || taken.has(path) || (isParent && candidate.kind !== "directory")) continue;
    const target = files[candidate.uid % Math.max(files.length, 1)];
    if (candidate.kind === "hard-link" && target === undefined) continue;
    const expected = {
      ...candidate,
      path,
      inodeOf: candidate.kind === "hard-link" ? (target?.path ?? "") : path,
    };
    taken.set(path, expected);
    if (candidate.kind === "file") files.push(expected);
  }
  return [...taken.values()];
}

async function toTar(nodes: readonly Expected[]): Promise<Buffer> {
  const archive = pack();
  for (const { path, kind, inodeOf, content: data, mode, uid, mtime, target, xattrs } of nodes) {
    const type =
      kind === "hard-link" ? ("link" as const) : (kind as "file" | "directory" | "symlink" | "fifo");
    const pax = Object.fromEntries(
      Object.entries(xattrs).map(([key, value]) => [`SCHILY.xattr.user.${key}`, value]),
    );
    archive.entry(
      {
        name: path,
        type,
        mode,
        uid,
        gid: mode,
        mtime: new Date(mtime * 1000),
        ...(type === "link" ? { linkname: inodeOf } : type === "symlink" ? { linkname: target } : {}),
        ...(Object.keys(pax).length > 0 && type !== "link" ? { pax } : {}),
      },
      type === "file" ? data : Buffer.alloc(0),
    );
  }
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

it("keeps any tree exactly", { skip: await missing("debugfs", "-V") }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "kiln-image-property-"));
  const path = join(folder, "image");
  const check = async (nodes: Node[]) => {
    const expected = plan(nodes);
    const tar = await toTar(expected);
    await rm(path, { force: true });
    const source = (async function* () {
      for (let at = 0; at < tar.length; at += 7001) yield tar.subarray(at, at + 7001);
    })();
    const image = await writeExt4Image({ tar: source, path, sizeBytes: 64 * 1024 ** 2, seed: "property" });
    await checkFileSystem(path);
    assert.equal(await digestImage(path), image.digest);

    const inodes = await readImage(path);
    const byPath = new Map(expected.map((each) => [each.path, each]));
    for (const each of expected) {
      const found = inodes.get(`/${fromText(each.path)}`);
      const source = byPath.get(each.inodeOf);
      assert.ok(found && source, each.path);
      assert.deepEqual([found.mode, found.uid, found.gid], [source.mode, source.uid, source.mode], each.path);
      assert.equal(found.mtimeSeconds, source.mtime);
      const links = expected.filter(({ inodeOf }) => inodeOf === each.inodeOf).length;
      if (source.kind === "file") {
        assert.equal(found.links, links);
        assert.ok(found.content?.equals(source.content), `content of ${each.path}`);
      }
      if (source.kind === "symlink") assert.equal(found.content?.toString(), source.target);
      const xattrs = Object.entries(source.xattrs).map(
        ([key, value]) => [`user.${key}`, Buffer.from(value)] as const,
      );
      assert.deepEqual([...found.xattrs].sort(), xattrs.sort(), `xattrs of ${each.path}`);
    }
    const implied = new Set(
      expected.flatMap(({ directories }) => directories.map((_, i) => directories.slice(0, i + 1).join("/"))),
    );
    const all = new Set([...expected.map((each) => each.path), ...implied]);
    assert.equal(inodes.size, all.size + 2, "nothing but them, the root and lost+found");
  };
  try {
    const runs = Number(process.env.KILN_PROPERTY_RUNS ?? 25);
    await fc.assert(fc.asyncProperty(fc.array(node, { maxLength: 40 }), check), { numRuns: runs });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
