import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { KilnError } from "../errors.ts";
import { digestImage } from "./image-digest.ts";
import { buildTar, type RawMember, tarMember } from "./testing/build-tar.ts";
import { type Ext4Image, type WriteExt4ImageOptions, writeExt4Image } from "./write-ext4-image.ts";

const MIB = 1024 ** 2;

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

describe("what is refused", () => {
  const refuses = async (
    code: string,
    pattern: RegExp,
    tar: Buffer | WriteExt4ImageOptions["tar"],
    options: Partial<WriteExt4ImageOptions> = {},
  ) => {
    const path = join(folder, `${count++}.img`);
    const stream = Buffer.isBuffer(tar) ? Readable.from([tar]) : tar;
    await assert.rejects(
      writeExt4Image({ path, sizeBytes: 64 * MIB, seed: "s", ...options, tar: stream }),
      (error) => error instanceof KilnError && error.code === code && pattern.test(error.message),
      `${code} ${pattern}`,
    );
    await assert.rejects(stat(path), { code: "ENOENT" }, "nothing is left behind");
    if (stream instanceof Readable) assert.ok(stream.destroyed, "the stream is let go");
  };

  it("refuses trees that make no sense", async () => {
    const invalid = (pattern: RegExp, ...members: RawMember[]) =>
      refuses("IMAGE_INVALID", pattern, buildTar(...members));
    await invalid(/"a\/..\/b".*"\.\."/, { path: "a/../b" });
    await invalid(
      /through "l", which is a symlink/,
      { path: "l", type: "2", linkPath: "/etc" },
      { path: "l/passwd" },
    );
    await invalid(/through "f", which is a file/, { path: "f" }, { path: "f/g" });
    await invalid(/not empty/, { path: "d/f" }, { path: "d" });
    await invalid(/replace the root/, { path: "/", edit: (h) => h.write("2", 156), linkPath: "x" });
    await invalid(/hard link to "nowhere"/, { path: "l", type: "1", linkPath: "nowhere" });
    await invalid(
      /hard link to "b"/,
      { path: "a", type: "1", linkPath: "b" },
      { path: "b", type: "1", linkPath: "a" },
    );
    await invalid(
      /hard link to the directory/,
      { path: "d", type: "5" },
      { path: "l", type: "1", linkPath: "d" },
    );
    await invalid(/without a target/, { path: "l", type: "2" });
    await invalid(/device number 5000:1/, { path: "c", type: "3", major: 5000, minor: 1 });
    await invalid(/lost\+found/, { path: "lost+found" });
    await invalid(/longer than 255/, { pax: { path: "x".repeat(256) } });
    await invalid(/more than 1024 names/, { pax: { path: "a/".repeat(1025) } });
    await invalid(/unsupported type "S"/, { path: "s", type: "S" });
    await invalid(/GNU\.sparse/, { path: "s", pax: { "GNU.sparse.major": "1" } });
    await invalid(/SCHILY\.acl/, { path: "s", pax: { "SCHILY.acl.access": "user::rw-" } });
    await invalid(/of no kind/, { path: "s", pax: { "SCHILY.xattr.system.nfs4_acl": "x" } });
    await invalid(/not a POSIX ACL/, { path: "s", pax: { "SCHILY.xattr.system.posix_acl_access": "xxxx" } });
    await invalid(/more than one block/, {
      path: "s",
      pax: { "SCHILY.xattr.user.x": Buffer.alloc(5000, 1) },
    });
    const names = Array.from({ length: 65_000 }, (_, i) =>
      tarMember({ path: `${i}`, type: "1", linkPath: "f" }),
    );
    const links = Buffer.concat([tarMember({ path: "f" }), ...names, Buffer.alloc(1024)]);
    await refuses("IMAGE_INVALID", /65000 hard links/, links);
  });

  it("says how big the disk has to be", async () => {
    const big = { path: "f", content: Buffer.alloc(100 * MIB, 1) };
    await refuses("DISK_FULL", /needs 101 MiB.* at least 128 MiB: disk_mib is 64/, buildTar(big));
    const many = Array.from({ length: 5000 }, (_, i) => ({ path: `${i}` }));
    await refuses("DISK_FULL", /5002 inodes, a disk of at least 128 MiB/, buildTar(...many));
    const fits = await write(buildTar(big), { sizeBytes: 128 * MIB });
    assert.equal(fits.usedBytes, 100 * MIB + 2 * 4096);
  });

  it("stops at an archive that does not end", { timeout: 60_000 }, async () => {
    async function* endless() {
      yield tarMember({ path: "f", size: 8 ** 11 - 1 });
      const zeros = Buffer.alloc(MIB);
      for (;;) yield zeros;
    }
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    await refuses("CANCELLED", /cancelled/, endless(), { signal: controller.signal });
    async function* endlessPadding() {
      yield buildTar({ path: "f" });
      for (;;) yield Buffer.alloc(MIB);
    }
    await refuses("IMAGE_INVALID", /does not end after its end marker/, endlessPadding());
  });

  it("refuses options out of range, and keeps a file that exists", async () => {
    const tar = () => Readable.from([buildTar({ path: "f" })]);
    await refuses("USAGE", /64 MiB to/, tar(), { sizeBytes: 63 * MIB });
    await refuses("USAGE", /multiple of 4096/, tar(), { sizeBytes: 64 * MIB + 1 });
    await refuses("USAGE", /64 MiB to/, tar(), { sizeBytes: 1024 ** 4 + 4096 });
    await refuses("USAGE", /label/, tar(), { label: "ééééééééé" });
    const extra = { path: "x", mode: 0o644, uid: -1, gid: 0, content: Buffer.alloc(0) };
    await refuses("USAGE", /impossible mode or owner/, tar(), { extraFiles: [extra] });
    const image = await write(buildTar({ path: "f" }));
    await assert.rejects(write(buildTar({ path: "g" }), { path: image.path }), { code: "USAGE" });
    assert.equal(await digestImage(image.path), image.digest);
  });

  it("passes on what goes wrong with the stream", async () => {
    const broken = async function* () {
      yield tarMember({ path: "f", content: Buffer.alloc(10_000, 1) });
      throw new Error("podman is gone");
    };
    await assert.rejects(write(Buffer.alloc(0), { tar: broken() }), /podman is gone/);
    const closed = new Readable({ read() {} });
    setImmediate(() => closed.destroy());
    await refuses("IMAGE_INVALID", /closed before its end/, closed);
  });
});
