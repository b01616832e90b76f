import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { it } from "node:test";
import { buildTar, type RawMember } from "./testing/build-tar.ts";
import { checkFileSystem, missing, runTool } from "./testing/tools.ts";
import { writeExt4Image } from "./write-ext4-image.ts";

/** Mounting takes root and a loop device; containers and CI often have neither. */
async function cannotMount(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "mounting an image takes root";
  const scratch = await mkdtemp(join(tmpdir(), "kiln-mount-probe-"));
  try {
    const image = join(scratch, "image");
    const tar = Readable.from([buildTar()]);
    await writeExt4Image({ tar, path: image, sizeBytes: 64 * 1024 ** 2, seed: "probe" });
    await mkdir(join(scratch, "mount"));
    const reason = await missing("mount", "-o", "loop", image, join(scratch, "mount"));
    if (reason === false) await runTool("umount", join(scratch, "mount"));
    return reason;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

it("is a file system to the kernel, to read and to write", { skip: await cannotMount() }, async () => {
  const scratch = await mkdtemp(join(tmpdir(), "kiln-mount-"));
  const image = join(scratch, "image");
  const mount = join(scratch, "mount");
  const odd = "new\nline \xff\xfe";
  const content = createHash("sha512").update("content").digest().toString("hex").repeat(100_000);
  const acl = Buffer.from(
    `02000000${"01000700ffffffff"}${"02000400e8030000"}${"04000500ffffffff"}${"10000700ffffffff"}${"20000000ffffffff"}`,
    "hex",
  );
  const members: RawMember[] = [
    { path: "big", content: Buffer.from(content) },
    { pax: { path: Buffer.from(odd, "latin1") }, content: Buffer.from("odd") },
    { path: "late", pax: { mtime: "4294967296.5" } },
    { path: "acl", pax: { "SCHILY.xattr.system.posix_acl_access": acl } },
    { path: "large", pax: { "SCHILY.xattr.user.large": Buffer.alloc(3000, "ab") } },
    { path: "null", type: "3", major: 1, minor: 3 },
    { path: "long", type: "2", linkPath: "x".repeat(99) },
    ...Array.from(
      { length: 5000 },
      (_, i): RawMember => ({ path: `many/entry-${i}`, content: Buffer.from(`${i}`) }),
    ),
  ];
  try {
    const tar = Readable.from([buildTar(...members)]);
    await writeExt4Image({ tar, path: image, sizeBytes: 512 * 1024 ** 2, seed: "mount" });
    await mkdir(mount);
    await runTool("mount", "-o", "loop", image, mount);
    try {
      assert.equal(await readFile(join(mount, "big"), "utf8"), content);
      const names = await readdir(mount, { encoding: "buffer" });
      assert.ok(names.some((name) => name.toString("latin1") === odd));
      assert.equal(await readlink(join(mount, "long")), "x".repeat(99));
      assert.equal((await lstat(join(mount, "late"), { bigint: true })).mtimeNs, 4_294_967_296_500_000_000n);
      assert.equal((await lstat(join(mount, "null"))).rdev, 0x103);
      assert.equal((await lstat(join(mount, "acl"))).mode & 0o777, 0o644);
      for (let i = 0; i < 5000; i++) await lstat(join(mount, `many/entry-${i}`)); // By the index.
      await assert.rejects(lstat(join(mount, "many/entry-5000")), { code: "ENOENT" });

      for (let i = 0; i < 3000; i++) await writeFile(join(mount, `many/new-${i}`), "n".repeat(i));
      for (let i = 0; i < 5000; i += 2) await unlink(join(mount, `many/entry-${i}`));
      await using grown = await open(join(mount, "big"), "a");
      await grown.write(Buffer.alloc(50 * 1024 ** 2, 5));
    } finally {
      await runTool("umount", mount);
    }
    await checkFileSystem(image);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
});
