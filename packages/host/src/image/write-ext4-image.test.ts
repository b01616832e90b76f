import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, open, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { digestImage } from "./image-digest.ts";
import { buildTar, type RawMember } from "./testing/build-tar.ts";
import { type ReadInode, readImage } from "./testing/read-image.ts";
import { checkFileSystem, missing } from "./testing/tools.ts";
import { type Ext4Image, type WriteExt4ImageOptions, writeExt4Image } from "./write-ext4-image.ts";

const MIB = 1024 ** 2;
const skip = await missing("debugfs", "-V");

let folder = "";
let count = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kiln-image-test-"));
});
after(() => rm(folder, { recursive: true, force: true }));

async function write(tar: Buffer, options: Partial<WriteExt4ImageOptions> = {}): Promise<Ext4Image> {
  const path = join(folder, `${count++}.img`);
  return writeExt4Image({ tar: Readable.from([tar]), path, sizeBytes: 64 * MIB, seed: "test", ...options });
}

async function writeAndRead(...members: RawMember[]): Promise<(path: string) => ReadInode> {
  const image = await write(buildTar(...members));
  await checkFileSystem(image.path);
  const inodes = await readImage(image.path);
  await rm(image.path);
  return (path) => {
    const inode = inodes.get(path);
    assert.ok(inode, `${path} is in the image: ${[...inodes.keys()].join(" ")}`);
    return inode;
  };
}

async function sha256(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

describe("what an image keeps", { skip }, () => {
  it("keeps owners, modes and times of every kind of file", async () => {
    const at = await writeAndRead(
      { path: "bin/", type: "5", mode: 0o1777, uid: 7, gid: 8, mtime: 1000 },
      { path: "bin/su", mode: 0o4755, uid: 0, gid: 2 ** 21 - 1, content: Buffer.from("su"), mtime: 1001 },
      { path: "null", type: "3", mode: 0o666, major: 1, minor: 3 },
      { path: "sda300", type: "4", major: 259, minor: 70_000 },
      { path: "pipe", type: "6", mode: 0o600 },
      { path: "link", type: "2", linkPath: "bin/su", mode: 0o777 },
      { path: "./long", type: "2", linkPath: "a/".repeat(49), mode: 0o777 },
      { path: "empty" },
      { path: "big-owner", pax: { uid: "4000000000", gid: "4294967294" } },
    );
    const su = at("/bin/su");
    assert.deepEqual([su.type, su.mode, su.uid, su.gid, su.size], ["regular", 0o4755, 0, 2 ** 21 - 1, 2]);
    assert.equal(su.content?.toString(), "su");
    assert.equal(su.mtimeSeconds, 1001);
    const bin = at("/bin");
    assert.deepEqual(
      [bin.type, bin.mode, bin.uid, bin.gid, bin.mtimeSeconds],
      ["directory", 0o1777, 7, 8, 1000],
    );
    assert.deepEqual([at("/null").type, at("/null").device], ["character special", "1:3"]);
    assert.deepEqual([at("/sda300").type, at("/sda300").device], ["block special", "259:70000"]);
    assert.equal(at("/pipe").type, "FIFO");
    assert.equal(at("/link").content?.toString(), "bin/su");
    assert.equal(at("/long").content?.toString(), "a/".repeat(49));
    assert.deepEqual([at("/empty").size, at("/empty").sectors], [0, 0]);
    assert.deepEqual([at("/big-owner").uid, at("/big-owner").gid], [4_000_000_000, 4_294_967_294]);
    assert.equal(at("/lost+found").inode, 11);
  });

  it("keeps symlinks around the length at which they leave the inode", async () => {
    const lengths = [1, 58, 59, 60, 61, 4095];
    const at = await writeAndRead(
      ...lengths.map((n) => ({ path: `l${n}`, type: "2", pax: { linkpath: "x".repeat(n) } })),
    );
    for (const n of lengths) assert.equal(at(`/l${n}`).content?.toString(), "x".repeat(n), `${n}`);
  });

  it("keeps times before 1970 and after 2038 to the nanosecond, and the nearest it can of others", async () => {
    const times: [string, number, number][] = [
      ["-1.25", -2, 750_000_000],
      ["-2147483648", -(2 ** 31), 0],
      ["2147483648.000000001", 2 ** 31, 1],
      ["4294967296.999999999", 2 ** 32, 999_999_999],
      ["15032385535", 2 ** 34 - 2 ** 31 - 1, 0],
      ["99999999999", 2 ** 34 - 2 ** 31 - 1, 0],
      ["-99999999999.5", -(2 ** 31), 0],
    ];
    const at = await writeAndRead(...times.map(([mtime], i) => ({ path: `t${i}`, pax: { mtime } })));
    for (const [i, [text, seconds, nanoseconds]] of times.entries()) {
      const inode = at(`/t${i}`);
      assert.deepEqual([inode.mtimeSeconds, inode.mtimeNanoseconds], [seconds, nanoseconds], text);
    }
  });

  it("keeps binary xattrs, in the inode or in a block, and POSIX ACLs", async () => {
    const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
    const large = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7) & 0xff));
    // Version 2: owner rwx, user 1000 r, group r-x, mask rwx, others none.
    const acl = Buffer.from(
      "02000000" +
        "01000700ffffffff" +
        "02000400e8030000" +
        "04000500ffffffff" +
        "10000700ffffffff" +
        "20000000ffffffff",
      "hex",
    );
    const at = await writeAndRead(
      { path: "ping", pax: { "SCHILY.xattr.security.capability": capability } },
      {
        path: "large",
        pax: { "SCHILY.xattr.user.large": large, "SCHILY.xattr.user.b": "x", "SCHILY.xattr.user.empty": "" },
      },
      { path: "acl", type: "5", pax: { "SCHILY.xattr.system.posix_acl_access": acl } },
      { path: "link", type: "2", linkPath: "t", pax: { "SCHILY.xattr.trusted.t": large } },
    );
    assert.deepEqual(at("/ping").xattrs, new Map([["security.capability", capability]]));
    assert.equal(at("/ping").sectors, 0, "kept inside the inode");
    assert.deepEqual(at("/large").xattrs.get("user.large"), large);
    assert.deepEqual(at("/large").xattrs.get("user.b"), Buffer.from("x"));
    assert.deepEqual(at("/large").xattrs.get("user.empty"), Buffer.alloc(0));
    assert.equal(at("/large").sectors, 8, "one block of xattrs");
    // debugfs gives entries without an id the id 0, the kernel -1.
    const aclOfDebugfs = Buffer.from(acl.toString("hex").replaceAll("ffffffff", "00000000"), "hex");
    assert.deepEqual(at("/acl").xattrs.get("system.posix_acl_access"), aclOfDebugfs);
    assert.deepEqual(at("/link").xattrs.get("trusted.t"), large);
    assert.equal(at("/link").content?.toString(), "t");
  });

  it("keeps hard links, also those that come before their target", async () => {
    const at = await writeAndRead(
      { path: "z", type: "1", linkPath: "y" },
      { path: "y", type: "1", linkPath: "./a" },
      { path: "a", content: Buffer.from("one") },
      { path: "b", type: "1", linkPath: "/a" },
      { path: "s", type: "2", linkPath: "a" },
      { path: "s2", type: "1", linkPath: "s" },
    );
    for (const path of ["/a", "/b", "/y", "/z"]) {
      assert.equal(at(path).inode, at("/a").inode, path);
      assert.equal(at(path).links, 4);
    }
    assert.equal(at("/s2").inode, at("/s").inode);
    assert.equal(at("/s2").type, "symlink");
  });

  it("lets later entries replace earlier ones as tar does", async () => {
    const at = await writeAndRead(
      { path: "a", content: Buffer.alloc(100_000, "secret") },
      { path: "kept", type: "1", linkPath: "a" },
      { path: "a", content: Buffer.from("second") },
      { path: "d", type: "5", mode: 0o700 },
      { path: "d/f", content: Buffer.from("f") },
      { path: "d/", type: "5", mode: 0o711, mtime: 5 },
      { path: "e", type: "5" },
      { path: "e", content: Buffer.from("file now") },
      { path: "f" },
      { path: "f", type: "5" },
      { path: "./", type: "5", mode: 0o700, uid: 3 },
    );
    assert.equal(at("/a").content?.toString(), "second");
    assert.equal(at("/kept").content?.length, 100_000);
    assert.equal(at("/kept").links, 1);
    assert.deepEqual([at("/d").mode, at("/d").mtimeSeconds], [0o711, 5]);
    assert.equal(at("/d/f").content?.toString(), "f");
    assert.equal(at("/e").type, "regular");
    assert.equal(at("/f").type, "directory");
    assert.deepEqual([at("/").mode, at("/").uid], [0o700, 3]);
  });

  it("leaves nothing behind of a file that was replaced", async () => {
    const secret = Buffer.alloc(3 * MIB, "secret!!");
    const image = await write(
      buildTar({ path: "a", content: secret }, { path: "a", content: Buffer.from("x") }),
    );
    await checkFileSystem(image.path);
    assert.equal((await readFile(image.path)).indexOf("secret!!"), -1);
    assert.equal(image.digest, await digestImage(image.path));
  });

  it("keeps names of any bytes and of 255 bytes, and long paths", async () => {
    const odd = "caf\xe9 \x01\xff\x80";
    const name = "n".repeat(255);
    const deep = Array.from({ length: 15 }, () => name).join("/");
    const at = await writeAndRead(
      { path: odd, content: Buffer.from("odd") },
      { pax: { path: deep }, content: Buffer.from("deep") },
      { path: "gnu", type: "L", content: Buffer.from(`${"g".repeat(200)}\0`) },
      { path: "cut", content: Buffer.from("gnu") },
    );
    assert.equal(at(`/${odd}`).content?.toString(), "odd");
    assert.equal(at(`/${deep}`).content?.toString(), "deep");
    assert.equal(at(`/${"g".repeat(200)}`).content?.toString(), "gnu");
  });

  it("makes holes of zeros and keeps what is around them", async () => {
    const block = (n: number, fill: number) => Buffer.alloc(n * 4096, fill);
    const content = Buffer.concat([
      block(1, 1),
      block(3, 0),
      block(2, 2),
      block(40, 0),
      block(1, 3),
      block(500, 0),
      Buffer.alloc(10),
    ]);
    const at = await writeAndRead({ path: "sparse", content }, { path: "zeros", content: block(100, 0) });
    assert.deepEqual(at("/sparse").content, content);
    assert.equal(at("/sparse").sectors, 7 * 8, "short runs of zeros keep their blocks");
    assert.deepEqual([at("/zeros").size, at("/zeros").sectors], [409_600, 0]);
  });

  it("stores files of thousands of extents", async () => {
    // Data and holes in turn, each pair an extent of its own: 1,500 need a tree of two levels.
    const pair = Buffer.concat([Buffer.alloc(4096, 7), Buffer.alloc(16 * 4096)]);
    for (const extents of [4, 5, 341, 1500]) {
      const content = Buffer.concat(Array.from({ length: extents }, () => pair));
      const image = await write(buildTar({ path: "f", content }), { sizeBytes: 256 * MIB });
      await checkFileSystem(image.path);
      assert.ok((await readImage(image.path)).get("/f")?.content?.equals(content), `${extents} extents`);
      await rm(image.path);
    }
  });

  it("indexes big directories", async () => {
    // Some dozen leaves under one index block, and more than one index block can list.
    for (const [entries, name] of [
      [3000, "some-name-\xc3\xa9\xff-"],
      [8000, "n".repeat(240)],
    ] as const) {
      const links: RawMember[] = Array.from({ length: entries }, (_, i) => ({
        type: "1",
        linkPath: "f",
        pax: { path: Buffer.from(`d/${name}${i}`, "latin1") },
      }));
      const at = await writeAndRead({ path: "f" }, ...links);
      assert.equal(at("/f").links, entries + 1);
      assert.equal(at(`/d/${name}${entries - 1}`).inode, at("/f").inode);
    }
  });

  it("puts extra files where symlinks lead, over what was there", async () => {
    const tar = buildTar(
      { path: "usr/sbin/agent", content: Buffer.from("old") },
      { path: "sbin", type: "2", linkPath: "usr/sbin" },
      { path: "abs", type: "2", linkPath: "/../usr/./x/.." },
    );
    const file = { mode: 0o755, uid: 1, gid: 2 };
    const image = await write(tar, {
      extraFiles: [
        { ...file, path: "/sbin/agent", content: Buffer.from("new") },
        { ...file, path: "/abs/new/dir/é", content: Buffer.from("made") },
      ],
    });
    await checkFileSystem(image.path);
    const inodes = await readImage(image.path);
    assert.equal(inodes.get("/usr/sbin/agent")?.content?.toString(), "new");
    assert.equal(inodes.get("/usr/sbin/agent")?.uid, 1);
    const made = `/usr/new/dir/${Buffer.from("é").toString("latin1")}`;
    assert.equal(inodes.get(made)?.content?.toString(), "made");
  });

  it("makes disks of any size", async () => {
    for (const sizeBytes of [
      64 * MIB,
      64 * MIB + 4096,
      129 * MIB,
      1000 * MIB - 4096,
      8192 * MIB,
      65_536 * MIB,
      1024 ** 4,
    ]) {
      const image = await write(buildTar({ path: "f", content: Buffer.from("f") }), { sizeBytes });
      await checkFileSystem(image.path);
      const { size, blocks } = await stat(image.path);
      assert.equal(size, sizeBytes);
      assert.ok(blocks * 512 < 4 * MIB, `${sizeBytes}: ${blocks * 512} bytes on the host`);
      await rm(image.path);
    }
  });
});

describe("what an image is made of", () => {
  const members: RawMember[] = [
    { path: "d/", type: "5" },
    { path: "d/f", content: Buffer.alloc(1_234_567, "abc") },
    { path: "l", type: "1", linkPath: "d/f" },
  ];

  it("is the same bytes for the same archive, in whatever pieces it comes", async () => {
    const tar = buildTar(...members);
    const pieces = function* (size: number) {
      for (let at = 0; at < tar.length; at += size) yield tar.subarray(at, at + size);
    };
    const first = await write(tar);
    for (const size of [1000, 4097, 65_536]) {
      const other = await write(Buffer.alloc(0), { tar: Readable.from(pieces(size)) });
      assert.equal(other.digest, first.digest);
      assert.equal(await sha256(other.path), await sha256(first.path));
    }
    assert.equal(await digestImage(first.path), first.digest);
  });

  it("differs by seed, label, size and content", async () => {
    const tar = buildTar(...members);
    const digests = await Promise.all([
      write(tar),
      write(tar, { seed: "other" }),
      write(tar, { label: "kiln" }),
      write(tar, { sizeBytes: 65 * MIB }),
      write(buildTar(...members, { path: "more" })),
    ]);
    assert.equal(new Set(digests.map(({ digest }) => digest)).size, digests.length);
  });

  it("is noticed when one bit of it changes", async () => {
    const image = await write(buildTar(...members));
    await using file = await open(image.path, "r+");
    await file.write(Buffer.from([1]), 0, 1, 63 * MIB);
    assert.notEqual(await digestImage(image.path), image.digest);
  });
});
