import { mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { publishFolder } from "../build/artifact-cache.ts";
import type { KilnHome } from "../home.ts";
import { encodeLazyFile, isLazy, LAZY_SUFFIX } from "../lazy/lazy-file.ts";
import { lockFile } from "../os/file-lock.ts";
import { inParallel } from "../os/in-parallel.ts";
import { openOwnedFolder } from "../os/owned-folder.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { exists } from "./exists.ts";
import { MANIFEST_SUFFIX } from "./fetcher/lazy-image.ts";
import { decodeChunk } from "./format/chunk.ts";
import { damaged } from "./format/digest.ts";
import { contentLength, type ImageManifest } from "./format/image-manifest.ts";
import { BLOCK } from "./format/limits.ts";
import type { StoredFile, StoredFolders } from "./format/template-manifest.ts";
import { readImageManifest } from "./known-chunks.ts";
import { writeAll } from "./write-all.ts";

/** Packs of a file that is needed as a whole that are fetched at once. */
const AT_ONCE = 3;

export interface Install {
  home: KilnHome;
  store: ObjectStore;
  /** What is in the folders. */
  manifest: { folders: StoredFolders };
  signal?: AbortSignal | undefined;
}

/**
 * Makes a folder of a template at its place in KILN_HOME, if it is not there: small files as they are, large ones to arrive later. It is
 * there whole or not at all.
 * @returns the paths of files that are still to arrive.
 */
export async function installFolder(install: Install, folder: string): Promise<string[]> {
  const { home, manifest, signal } = install;
  const target = join(home.root, folder);
  const stillArriving = () =>
    Object.keys(manifest.folders[folder] ?? {})
      .map((name) => join(target, name))
      .filter((path) => isLazy(path));
  if (await exists(target)) return stillArriving();
  await using _lock = await lockFile(home.lock(`pull-${folder.replaceAll("/", "-").slice(0, 60)}`), signal);
  if (await exists(target)) return stillArriving();
  await using scratch = await openOwnedFolder(home.tmp);
  const arriving: string[] = [];
  const bring = async ([name, file]: [string, StoredFile], linked: AbortSignal) => {
    const path = join(scratch.path, name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const late = await installFile({ ...install, signal: linked }, file, path, join(target, name));
    if (late) arriving.push(join(target, name));
  };
  await inParallel(Object.entries(manifest.folders[folder] ?? {}), bring, { signal });
  await publishFolder(scratch.path, target);
  return arriving;
}

/** @returns whether it is still to arrive. */
async function installFile(
  { home, store, signal }: Install,
  file: StoredFile,
  path: string,
  target: string,
): Promise<boolean> {
  const mode = file.executable ? 0o755 : 0o600;
  if ("inline" in file) {
    await writeFile(path, Buffer.from(file.inline, "base64"), { mode });
    return false;
  }
  const { manifest, bytes } = await readImageManifest(store, file.image, signal);
  if (manifest.sizeBytes !== file.size)
    throw damaged(`image manifest ${file.image}`, "it has another size than its template says");
  await using handle = await open(path, "wx", mode);
  await handle.truncate(file.size);
  if (!file.lazy) {
    await fetchWhole(store, manifest, handle.fd, signal);
    return false;
  }
  await writeFile(path + MANIFEST_SUFFIX, bytes, { mode: 0o600 });
  const header = { home: relative(dirname(target), home.root), image: file.image, parts: manifest.chunks };
  await writeFile(path + LAZY_SUFFIX, encodeLazyFile(header), { mode: 0o600 });
  return true;
}

/** Fetches a file of which nothing is of use before all of it is there. */
export async function fetchWhole(
  store: ObjectStore,
  manifest: ImageManifest,
  fd: number,
  signal?: AbortSignal,
): Promise<void> {
  const byPack = Map.groupBy(manifest.chunks, (chunk) => chunk.pack);
  const fetchPack = async ([number, chunks]: [number, ImageManifest["chunks"]], linked: AbortSignal) => {
    const pack = manifest.packs[number]?.digest ?? "";
    const offset = Math.min(...chunks.map((chunk) => chunk.offset));
    const length = Math.max(...chunks.map((chunk) => chunk.offset + chunk.stored)) - offset;
    const range = { offset, length };
    const bytes = await store.get(keys.pack(pack), { range, maxBytes: length, signal: linked });
    if (bytes?.length !== length) throw damaged(`pack ${pack}`, bytes ? "it is cut short" : "it is missing");
    await inParallel(chunks, async (chunk) => {
      const stored = bytes.subarray(chunk.offset - offset, chunk.offset - offset + chunk.stored);
      const expected = { digest: chunk.digest, length: contentLength(manifest, chunk) };
      const what = `chunk ${chunk.digest} of pack ${pack}`;
      const content = await decodeChunk({ bytes: stored, raw: chunk.raw }, expected, what);
      await writeAll(fd, content, chunk.block * BLOCK);
    });
  };
  await inParallel(byPack, fetchPack, { atOnce: AT_ONCE, signal });
}
