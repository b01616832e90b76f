import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncDirectory } from "../os/atomic-file.ts";

/** SHA-256, in hex, over the names and contents of the files at or below `paths`, whatever order they come in. */
export async function hashFiles(
  root: string,
  paths: readonly string[],
  skip: (path: string) => boolean,
): Promise<string> {
  const files = await listFiles(root, paths, skip);
  const contents = await Promise.all(files.map((file) => readFile(join(root, file))));
  const hash = createHash("sha256");
  for (const [index, file] of files.entries()) {
    const content = contents[index] ?? Buffer.alloc(0);
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** The files at or below `paths`, relative to `root`, sorted. What `skip` names, a folder as `name/`, is left out. */
export async function listFiles(
  root: string,
  paths: readonly string[],
  skip: (path: string) => boolean,
): Promise<string[]> {
  const lists = await Promise.all(
    paths.map(async (path) => {
      const entries = await readdir(join(root, path), { withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile()).map(({ name }) => join(path, name));
      const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name));
      const kept = folders.filter((folder) => !skip(`${folder}/`));
      return [...files.filter((file) => !skip(file)), ...(await listFiles(root, kept, skip))];
    }),
  );
  return lists.flat().sort();
}

/**
 * Publishes the finished folder `from` as `to`: everything in it is on the disk before its name is. A folder already
 * there, which a crash cannot have left half-made, is replaced.
 */
export async function publishFolder(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (!(await stat(join(from, name))).isFile()) continue; // A folder's files are its maker's.
    const file = await open(join(from, name), "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await syncDirectory(from);
  await mkdir(dirname(to), { recursive: true });
  await rm(to, { recursive: true, force: true });
  await rename(from, to);
  await syncDirectory(dirname(to));
}
