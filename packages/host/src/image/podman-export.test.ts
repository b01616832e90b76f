import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { extract } from "tar-stream";
import { fromText } from "./byte-string.ts";
import { readImage } from "./testing/read-image.ts";
import { checkFileSystem, missing, runTool } from "./testing/tools.ts";
import { writeExt4Image } from "./write-ext4-image.ts";

/** The smallest image that podman has already; nothing is fetched for a test. */
async function localImage(): Promise<{ image: string } | { skip: string }> {
  const skip = (await missing("podman", "--version")) || (await missing("debugfs", "-V"));
  if (skip) return { skip };
  const listed = await runTool("podman", "images", "--format", "{{.Repository}}:{{.Tag}}");
  const sizes: { image: string; size: number }[] = [];
  for (const image of listed.split("\n").filter((name) => name !== "" && !name.includes("<none>"))) {
    sizes.push({
      image,
      size: Number(await runTool("podman", "image", "inspect", "--format", "{{.Size}}", image)),
    });
  }
  sizes.sort((a, b) => a.size - b.size);
  return sizes[0] ?? { skip: "podman has no image" };
}

const local = await localImage();

it("keeps what podman exports", { skip: "skip" in local ? local.skip : false }, async () => {
  assert.ok("image" in local);
  const folder = await mkdtemp(join(tmpdir(), "kiln-podman-export-"));
  const tarPath = join(folder, "tar");
  const path = join(folder, "image");
  const container = (await runTool("podman", "create", local.image, "/bin/true")).trim();
  try {
    const digests: string[] = [];
    for (const _ of [1, 2]) {
      await rm(path, { force: true });
      await rm(tarPath, { force: true });
      await runTool("podman", "export", "--output", tarPath, container);
      const tar = createReadStream(tarPath);
      digests.push((await writeExt4Image({ tar, path, sizeBytes: 8 * 1024 ** 3, seed: "podman" })).digest);
    }
    assert.equal(digests[0], digests[1], "exported again, the same image");
    await checkFileSystem(path);

    // Both tar-stream, which reads the archive here, and debugfs, which reads the image, are other people's.
    const inodes = await readImage(path);
    const seen = new Set(["/", "/lost+found"]);
    const parser = createReadStream(tarPath).pipe(extract());
    for await (const entry of parser) {
      const { name, type, mode, uid, gid, mtime, linkname } = entry.header;
      const parts: Buffer[] = [];
      for await (const part of entry) parts.push(part as Buffer);
      const at = `/${fromText(name.replace(/^\.?\//, "").replace(/\/$/, ""))}`;
      const found = inodes.get(at);
      assert.ok(found, at);
      seen.add(at);
      if (type === "link") {
        assert.equal(found.inode, inodes.get(`/${fromText(linkname ?? "")}`)?.inode, at);
        continue;
      }
      assert.deepEqual([found.mode, found.uid, found.gid], [(mode ?? 0) & 0o7777, uid, gid], at);
      assert.equal(found.mtimeSeconds, Math.floor((mtime?.getTime() ?? 0) / 1000), at);
      if (type === "symlink") assert.equal(found.content?.toString(), linkname, at);
      if (type === "file") assert.ok(found.content?.equals(Buffer.concat(parts)), `content of ${at}`);
    }
    assert.equal(inodes.size, seen.size, "nothing but what was exported, the root and lost+found");
  } finally {
    await runTool("podman", "rm", container);
    await rm(folder, { recursive: true, force: true });
  }
});
