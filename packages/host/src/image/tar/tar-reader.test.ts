import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KilnError } from "../../errors.ts";
import { buildTar, paxBody, type RawMember, tarMember } from "../testing/build-tar.ts";
import { MAX_EXTENSION_BYTES } from "./limits.ts";
import type { TarEntry } from "./tar-entry.ts";
import { TarReader } from "./tar-reader.ts";

interface Read extends TarEntry {
  content: string;
}

/** Reads an archive that is pushed in pieces of `size` bytes. */
function read(tar: Buffer, size = tar.length): Read[] {
  const entries: Read[] = [];
  let open: Read | undefined;
  const reader = new TarReader({
    entry(entry) {
      assert.equal(open, undefined);
      open = { ...entry, content: "" };
    },
    data(bytes) {
      assert.ok(open && bytes.length > 0);
      open.content += bytes.toString("latin1");
    },
    entryEnd() {
      assert.ok(open);
      assert.equal(open.content.length, open.size);
      entries.push(open);
      open = undefined;
    },
  });
  for (let at = 0; at < tar.length; at += size) reader.push(tar.subarray(at, at + size));
  reader.end();
  assert.equal(reader.position, tar.length);
  assert.equal(reader.entries, entries.length);
  return entries;
}

function refuses(pattern: RegExp, tar: Buffer): void {
  for (const size of [1, 100, tar.length]) {
    assert.throws(
      () => read(tar, size),
      (error) => error instanceof KilnError && error.code === "IMAGE_INVALID" && pattern.test(error.message),
      `${pattern} in pieces of ${size}`,
    );
  }
}

describe("TarReader", () => {
  const members: RawMember[] = [
    { path: "plain", content: Buffer.from("hello"), mode: 0o4755, uid: 1, gid: 2, mtime: 3 },
    { path: "exact", content: Buffer.alloc(512, "x") },
    { path: "empty" },
    { path: "dir/", type: "5" },
    { path: "old-dir/" },
    { pax: { path: "pax-path", uid: "70000", mtime: "-3.25", comment: "x" }, content: Buffer.from("pax") },
    { path: "", type: "L", content: Buffer.from("long\0") },
    { path: "", type: "K", content: Buffer.from("target\0") },
    { path: "short", type: "2", linkPath: "t" },
    { path: "after", linkPath: "not a link" },
  ];

  it("reads the same however the archive is cut", () => {
    const tar = buildTar(...members);
    const whole = read(tar);
    for (const size of [1, 7, 511, 512, 513, 5000]) assert.deepEqual(read(tar, size), whole);
    assert.deepEqual(
      whole.map(({ path, type, content, linkPath }) => [path, type, content.length, linkPath]),
      [
        ["plain", "file", 5, ""],
        ["exact", "file", 512, ""],
        ["empty", "file", 0, ""],
        ["dir/", "directory", 0, ""],
        ["old-dir/", "directory", 0, ""],
        ["pax-path", "file", 3, ""],
        ["long", "symlink", 0, "target"],
        ["after", "file", 0, ""],
      ],
    );
    const [plain, , , , , pax] = whole;
    assert.deepEqual([plain?.mode, plain?.uid, plain?.gid, plain?.mtimeSeconds], [0o4755, 1, 2, 3]);
    assert.deepEqual([pax?.uid, pax?.mtimeSeconds, pax?.mtimeNanoseconds], [70_000, -4, 750_000_000]);
  });

  it("applies global records until an entry has its own", () => {
    const [a, b] = read(
      buildTar(
        { type: "g", content: paxBody({ uid: "5", gid: "6" }) },
        { path: "a" },
        { path: "b", pax: { uid: "7" } },
      ),
    );
    assert.deepEqual([a?.uid, a?.gid, b?.uid, b?.gid], [5, 6, 7, 6]);
  });

  it("reads sizes, owners and times in base 256", () => {
    const put = (at: number, hex: string) => (header: Buffer) => header.write(hex, at, "hex");
    const [uid] = read(buildTar({ path: "u", edit: put(108, "80000000ee6b2800") }));
    assert.equal(uid?.uid, 4_000_000_000);
    const [time] = read(buildTar({ path: "t", edit: put(136, "ffffffffffffffffffffffff") }));
    assert.equal(time?.mtimeSeconds, -1);
    refuses(/size/, buildTar({ path: "s", edit: put(124, "80ffffffffffffffffffffff") }));
    refuses(/size of -1/, buildTar({ path: "s", edit: put(124, "ffffffffffffffffffffffff") }));
    refuses(/size of 2199023255552/, buildTar({ path: "s", edit: put(124, "800000000000020000000000") }));
  });

  it("joins the prefix in POSIX headers alone", () => {
    const withPrefix = (header: Buffer) => header.write("some/prefix", 345);
    assert.equal(read(buildTar({ path: "f", edit: withPrefix }))[0]?.path, "some/prefix/f");
    const gnu = (header: Buffer) => {
      withPrefix(header);
      header.write("ustar  \0", 257);
    };
    assert.equal(read(buildTar({ path: "f", edit: gnu }))[0]?.path, "f");
  });

  it("keeps binary xattrs byte for byte", () => {
    const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const [entry] = read(buildTar({ path: "f", pax: { "SCHILY.xattr.security.capability": value } }), 3);
    assert.deepEqual(entry?.xattrs, new Map([["security.capability", value]]));
  });

  it("takes an archive padded to a record, and nothing else after the end", () => {
    assert.deepEqual(read(Buffer.concat([buildTar(), Buffer.alloc(9216)])), []);
    refuses(/goes on after its end/, Buffer.concat([buildTar(), Buffer.from("x")]));
    refuses(/lone zero block/, Buffer.concat([Buffer.alloc(512), buildTar({ path: "f" })]));
  });

  it("notices where an archive was cut short", () => {
    const tar = buildTar(...members);
    const end = tar.length - 512; // From there on only half of the end marker is missing.
    for (let length = 0; length <= end; length += 97) {
      assert.throws(() => read(tar.subarray(0, length)), { code: "IMAGE_INVALID" }, `${length} bytes`);
    }
  });

  it("refuses damaged headers and extensions", () => {
    const damaged = buildTar({ path: "f" });
    damaged.writeUInt8(0x78, 5);
    refuses(/checksum/, damaged);
    refuses(/unreadable mode/, buildTar({ path: "f", edit: (header) => header.write("0000abc", 100) }));
    refuses(/checksum/, Buffer.from("\x1f\x8b".padEnd(2048, "gzip")));
    const pax = (body: string) =>
      buildTar({ type: "x", content: Buffer.from(body, "latin1") }, { path: "f" });
    refuses(/no record length/, pax("path=x\n"));
    refuses(/no record length/, pax("-5 a=b\n"));
    refuses(/no record length/, pax(" a=b\n"));
    refuses(/wrong length/, pax("9 a=b\n"));
    refuses(/wrong length/, pax("5 a=b\n"));
    refuses(/wrong length/, pax("2 a=b\n"));
    refuses(/wrong length/, pax("0 a=b\n"));
    refuses(/without '='/, pax("6 ab=\n".replace("=", "-")));
    refuses(/key ""/, pax("5 =b\n"));
    refuses(/uid="-1"/, pax("10 uid=-1\n"));
    refuses(/mtime="soon"/, pax("14 mtime=soon\n"));
    refuses(/size=/, pax("25 size=9999999999999999\n"));
    refuses(/owner id 4294967295/, pax("18 uid=4294967295\n"));
    refuses(/NUL/, pax("12 path=a\0b\n"));
    refuses(
      /two PAX headers/,
      buildTar({ type: "x", content: paxBody({ a: "b" }) }, { path: "f", pax: { a: "b" } }),
    );
    refuses(/extension header and its entry/, buildTar({ type: "x", content: paxBody({ a: "b" }) }));
    refuses(/extension header of/, buildTar({ type: "x" }, { path: "f" }));
    refuses(/extension header of/, tarMember({ type: "L", size: MAX_EXTENSION_BYTES + 1 }));
    refuses(/longer than 4095/, buildTar({ path: "f", pax: { path: "x/".repeat(2048) } }));
  });
});
