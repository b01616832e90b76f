import { type FileHandle, open, rm } from "node:fs/promises";
import { addAbortSignal, Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { KilnError, systemErrorCode } from "../errors.ts";
import { BlockWriter, LayerChanges, writeFully } from "./block-writer.ts";
import { fromText, show } from "./byte-string.ts";
import { BlockAllocator } from "./ext4/block-allocator.ts";
import { checkFits, checkPossible } from "./ext4/check-fits.ts";
import { BLOCK_SIZE, type Ext4Layout, ext4Layout } from "./ext4/layout.ts";
import { numberInodes } from "./ext4/number-inodes.ts";
import { type BlockReader, readParentImage } from "./ext4/parent-image.ts";
import { ext4Identity } from "./ext4/superblock.ts";
import { writeFront, writeInodes } from "./ext4/write-metadata.ts";
import { FileContent } from "./file-content.ts";
import { FileTree, newDirectory } from "./file-tree.ts";
import { digestFile, digestLayer, ImageDigest } from "./image-digest.ts";
import { invalid } from "./invalid.ts";
import { MAX_ID } from "./tar/limits.ts";
import { type Reproducible, reproducible } from "./tar/reproducible.ts";
import { both, type TarHandler } from "./tar/tar-entry.ts";
import { TarReader } from "./tar/tar-reader.ts";
import { TreeBuilder } from "./tree-builder.ts";

/** Bytes of the archive that are taken at once; bounds what waits to be written. */
const PIECE_BYTES = 1024 * 1024;
const MAX_LABEL_BYTES = 16;
const LOST_AND_FOUND = "lost+found";

/** A file that is in the image besides what the archive has; replaces the archive's file of the same path. */
export interface ExtraFile {
  /** From the image's root. Symlinks among its parents are followed inside the image; missing parents are made. */
  path: string;
  /** `0` to `0o7777`. */
  mode: number;
  uid: number;
  gid: number;
  content: Uint8Array;
}

export interface WriteExt4ImageOptions {
  /**
   * An image that this one is to share blocks with: the file then is a layer on it, which has the blocks that differ.
   * Both disks are of one size.
   */
  parent?: { blocks: BlockReader; digest: string };
  /** A root filesystem as a tar archive, not compressed. It is read to its end, or destroyed. */
  tar: Readable | AsyncIterable<Uint8Array>;
  /** The image file to make; it must not exist. On failure it is removed. */
  path: string;
  /** Size of the disk in bytes: a multiple of 4096, 64 MiB to 1 TiB. The file is sparse. */
  sizeBytes: number;
  /** @default [] */
  extraFiles?: readonly ExtraFile[];
  /** Volume label, up to 16 bytes of UTF-8. @default "" */
  label?: string;
  /** The file system's UUID and hash seed are made from it. */
  seed: string;
  /**
   * Waits until the image is on the disk and not only in the page cache: without that it survives a kill but
   * not a power cut. @default false
   */
  durable?: boolean;
  /** Is told of every entry of the archive, and of its content, as it goes by. */
  observer?: TarHandler;
  /** Leaves out, and makes equal, what differs between two builds of the same things. */
  reproducible?: Reproducible;
  signal?: AbortSignal;
  /** Called about once for each MiB of the archive. */
  onProgress?: (progress: { tarBytes: number; entries: number }) => void;
}

export interface Ext4Image {
  path: string;
  sizeBytes: number;
  /** Bytes that files, directories and their like take: what `df` calls used. */
  usedBytes: number;
  /** Inodes in use, the reserved ones not counted. */
  inodes: number;
  /** Bytes of the archive. */
  tarBytes: number;
  /** `"sha256:<hex>"` of the image's content; `digestImage` takes it again from the file. */
  digest: string;
  /** Of a layer on a parent: the blocks in the file, and those that are zero and not in the parent. Ascending. */
  changes?: { data: number[]; zeros: number[] };
}

/**
 * Makes an ext4 image from a root filesystem's archive, in one pass, without privileges. The same archive, files, size,
 * label and seed give the same bytes.
 *
 * @throws KilnError `IMAGE_INVALID` for an archive that is damaged or cannot be kept exactly, `DISK_FULL` when the files
 * need a bigger disk or the host's file system is full, `USAGE` for options out of range, `CANCELLED` by `signal`.
 *
 * @example
 * const tar = createReadStream("rootfs.tar");
 * const image = await writeExt4Image({ tar, path: "rootfs.ext4", sizeBytes: 8 * 1024 ** 3, seed: key });
 */
export async function writeExt4Image(options: WriteExt4ImageOptions): Promise<Ext4Image> {
  const tar = options.tar instanceof Readable ? options.tar : Readable.from(options.tar);
  tar.on("error", () => {}); // Reading it reports the error; one that comes before that would end the process.
  try {
    return await createImage(tar, options);
  } catch (error) {
    throw explain(error, options);
  } finally {
    tar.destroy();
  }
}

async function createImage(tar: Readable, options: WriteExt4ImageOptions): Promise<Ext4Image> {
  const layout = ext4Layout(options.sizeBytes);
  const label = Buffer.from(options.label ?? "", "utf8");
  if (label.length > MAX_LABEL_BYTES) {
    throw new KilnError(
      "USAGE",
      `the volume label is longer than ${MAX_LABEL_BYTES} bytes: ${options.label}`,
    );
  }
  for (const extra of options.extraFiles ?? []) checkExtraFile(extra);
  const file = await open(options.path, "wx+", 0o644);
  let complete = false;
  try {
    await file.truncate(layout.sizeBytes);
    const image = await writeContent(file, layout, label, tar, options);
    if (options.durable) await file.datasync();
    complete = true;
    return image;
  } finally {
    await file.close();
    if (!complete) await rm(options.path, { force: true });
  }
}

async function writeContent(
  file: FileHandle,
  layout: Ext4Layout,
  label: Buffer,
  tar: Readable,
  options: WriteExt4ImageOptions,
): Promise<Ext4Image> {
  const digest = new ImageDigest(layout.sizeBytes);
  const parent = options.parent && readParentImage(options.parent.blocks, layout);
  const changes = parent && new LayerChanges(parent.blocks, parent.nextBlock);
  await using writer = new BlockWriter(file, layout.blocks, digest, changes);
  const allocator = new BlockAllocator(layout.firstDataBlock, parent?.nextBlock);
  const content = new FileContent(writer, allocator, parent?.blocks);
  const tree = new FileTree((removed) => {
    if (removed.kind === "file") allocator.release(removed.extents);
  });

  const builder = new TreeBuilder(tree, content, parent?.inodes);
  const handler = options.observer ? both(builder, options.observer) : builder;
  const reader = new TarReader(options.reproducible ? reproducible(handler, options.reproducible) : handler);
  await readArchive(reader, writer, allocator, tar, options);
  tree.finish();
  for (const extra of options.extraFiles ?? []) {
    addExtraFile(tree, content, builder, extra);
    await writer.drain();
  }
  ensureLostAndFound(tree);

  const identity = parent?.identity ?? ext4Identity(options.seed, label);
  const target = { writer, allocator, layout, identity, lastInode: parent?.lastInode ?? 0 };
  const numbered = numberInodes(tree.root, LOST_AND_FOUND, parent?.inodes);
  const inodeTable = await writeInodes(target, numbered);
  checkFits(layout, allocator.next, numbered.size);
  await writeFront(target, numbered, inodeTable);
  await writer.flush();

  const { released } = allocator;
  const releasedBlocks = released.reduce((sum, { count }) => sum + count, 0);
  const image = {
    path: options.path,
    sizeBytes: layout.sizeBytes,
    usedBytes: (allocator.next - layout.firstDataBlock - releasedBlocks) * BLOCK_SIZE,
    inodes: numbered.size,
    tarBytes: reader.position,
  };
  if (changes !== undefined && options.parent !== undefined) {
    for (const { start, count } of released) {
      for (let block = start; block < start + count; block++) changes.clear(block);
    }
    const lists = { data: ascending(changes.data), zeros: ascending(changes.zeros) };
    return { ...image, changes: lists, digest: await digestLayer(file, options.parent.digest, lists) };
  }
  for (const { start, count } of released) await writeZeros(file, start, count);
  return {
    ...image,
    // What was written and then taken back is in the running digest: begin again from the file.
    digest:
      releasedBlocks === 0 ? digest.finish() : await digestFile(file, layout, allocator.next, options.signal),
  };
}

const ascending = (numbers: Iterable<number>) => [...numbers].sort((a, b) => a - b);

async function readArchive(
  reader: TarReader,
  writer: BlockWriter,
  allocator: BlockAllocator,
  tar: Readable,
  options: WriteExt4ImageOptions,
): Promise<void> {
  if (options.signal) addAbortSignal(options.signal, tar);
  let reported = 0;
  for await (const chunk of tar) {
    if (!(chunk instanceof Uint8Array)) throw new KilnError("USAGE", "the tar stream must be one of bytes");
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      reader.push(bytes.subarray(at, at + PIECE_BYTES));
      await writer.drain();
      checkPossible(allocator.next);
    }
    if (reader.position - reported >= PIECE_BYTES) {
      reported = reader.position;
      options.onProgress?.({ tarBytes: reader.position, entries: reader.entries });
      await setImmediate(); // Lets others run, were the stream never to make anyone wait.
    }
  }
  options.signal?.throwIfAborted();
  reader.end();
}

function checkExtraFile({ path, mode, uid, gid }: ExtraFile): void {
  const within = (value: number, max: number) => Number.isInteger(value) && value >= 0 && value <= max;
  if (within(mode, 0o7777) && within(uid, MAX_ID) && within(gid, MAX_ID)) return;
  throw new KilnError(
    "USAGE",
    `the extra file ${path} has an impossible mode or owner: ${mode}, ${uid}:${gid}`,
  );
}

function addExtraFile(tree: FileTree, content: FileContent, builder: TreeBuilder, extra: ExtraFile): void {
  const path = tree.resolveParents(fromText(extra.path));
  const bytes = Buffer.from(extra.content.buffer, extra.content.byteOffset, extra.content.byteLength);
  const inode = {
    kind: "file" as const,
    mode: extra.mode,
    uid: extra.uid,
    gid: extra.gid,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    xattrs: new Map(),
    links: 0,
    size: bytes.length,
    extents: [],
  };
  content.begin(inode, builder.parentExtents(path));
  content.write(bytes);
  content.end();
  tree.put(path, inode);
}

/** fsck wants one to put things into. */
function ensureLostAndFound(tree: FileTree): void {
  const existing = tree.root.children.get(LOST_AND_FOUND);
  if (existing !== undefined && existing.kind !== "directory") {
    throw invalid(`${show(`/${LOST_AND_FOUND}`)} is a ${existing.kind}: ext4 needs a directory of that name`);
  }
  if (existing === undefined) {
    const attributes = {
      mode: 0o700,
      uid: 0,
      gid: 0,
      mtimeSeconds: 0,
      mtimeNanoseconds: 0,
      xattrs: new Map(),
    };
    tree.put(LOST_AND_FOUND, newDirectory(attributes));
  }
}

/** Content of a replaced file does not stay behind in free blocks. */
async function writeZeros(file: FileHandle, start: number, count: number): Promise<void> {
  const zeros = Buffer.alloc(Math.min(count, PIECE_BYTES / BLOCK_SIZE) * BLOCK_SIZE);
  for (let done = 0; done < count; done += zeros.length / BLOCK_SIZE) {
    const length = Math.min(zeros.length, (count - done) * BLOCK_SIZE);
    await writeFully(file, zeros.subarray(0, length), (start + done) * BLOCK_SIZE);
  }
}

/** An error with a code, from whatever went wrong underneath. */
function explain(error: unknown, options: WriteExt4ImageOptions): unknown {
  if (options.signal?.aborted)
    return new KilnError("CANCELLED", "cancelled while the image was written", { cause: error });
  if (error instanceof KilnError) return error;
  switch (systemErrorCode(error)) {
    case "EEXIST":
      return new KilnError("USAGE", `${options.path} exists already`, { cause: error });
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return new KilnError("DISK_FULL", `no space for the image ${options.path}`, {
        hint: "free some disk space, or move KILN_HOME to a bigger file system",
        cause: error,
      });
    case "ERR_STREAM_PREMATURE_CLOSE":
      return invalid("the tar stream was closed before its end", error);
    default:
      return error;
  }
}
