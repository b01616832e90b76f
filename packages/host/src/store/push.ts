import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { Diff } from "../block/disk/diff.ts";
import { DATA } from "../block/disk/geometry.ts";
import { findKernel } from "../build/kernel.ts";
import { findRootfs } from "../build/rootfs.ts";
import { ROOTFS_FILE } from "../build/rootfs-record.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { ensureWhole } from "../lazy/ensure-whole.ts";
import { LAZY_SUFFIX } from "../lazy/lazy-file.ts";
import { inParallel } from "../os/in-parallel.ts";
import { Uses } from "../os/in-use.ts";
import { snapshotsOf } from "../snapshot/cache.ts";
import { parentOf } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { VERSION } from "../version.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import {
  encodeTemplateManifest,
  type StoredFile,
  type StoredFolders,
  type TemplateManifest,
} from "./format/template-manifest.ts";
import { readKnownChunks } from "./known-chunks.ts";
import { type Lease, useStore } from "./lease.ts";
import { type PushContext, type PushCounters, pushImage } from "./push-image.ts";
import { writeTag } from "./references.ts";
import { ChunkThreads } from "./threads/chunk-threads.ts";
import type { Signer } from "./trust.ts";

/** Smaller files are part of the template's manifest, in bytes. */
const INLINE_BYTES = 128 * 1024;

/** Files that are of use before all of them has come: disks' contents and memory; and a kernel, which only a boot needs. */
const LAZY_FILES = [ROOTFS_FILE, "memory", "data", "vmlinuz", "initrd"];
const isLazy = (name: string): boolean => LAZY_FILES.includes(basename(name));

export interface PushOptions {
  home: KilnHome;
  store: ObjectStore;
  spec: TemplateSpec;
  /** Signs what is pushed. */
  signer?: Signer | undefined;
  /** Told of how far it has come; `total`: bytes to go through. */
  onProgress?: ((counters: PushCounters, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface Pushed extends PushCounters {
  /** The version. */
  digest: string;
}

/**
 * Stores a template that is built, with its snapshots, under its name. What the store has already is not sent again; a push that is cut
 * off can be seen by nobody, and goes on where it was the next time.
 *
 * @throws KilnError `TEMPLATE_NOT_FOUND` when it is not built; `STORE_UNAVAILABLE`, `CONFLICT`, `CANCELLED`.
 */
export async function pushTemplate(options: PushOptions): Promise<Pushed> {
  const { home, spec, signal } = options;
  await using uses = new Uses(home);
  const parts = await uses.keep(
    () => findParts(home, spec),
    (found) => foldersOf(found).map((name) => join(home.root, name)),
    signal,
  );
  return pushParts(options, parts);
}

/** Folders, relative to KILN_HOME, that make a template. */
export type TemplateParts = Pick<TemplateManifest, "disk" | "kernel" | "agent" | "snapshots">;

const foldersOf = ({ disk, kernel, agent, snapshots }: TemplateParts): string[] => [
  disk.base,
  ...disk.layers,
  kernel,
  ...(agent === undefined ? [] : [agent]),
  ...snapshots,
];

/** Stores folders as the template `spec`. @throws KilnError as `pushTemplate`. */
export async function pushParts(options: PushOptions, parts: TemplateParts): Promise<Pushed> {
  const { store, spec, signer, signal } = options;
  let version = "";
  const counters = await pushFolders(options, foldersOf(parts), async (folders, lease) => {
    const { bytes, digest } = encodeTemplateManifest({
      format: 1,
      name: spec.name,
      pushedAt: new Date().toISOString(),
      kiln: VERSION,
      spec: ownSpec(spec),
      parents: lineageOf(spec),
      ...parts,
      folders,
    });
    version = digest;
    if (signer) await store.put(keys.signature(digest, signer.keyId), signer.sign(digest), signal);
    await store.put(keys.template(digest), bytes, signal);
    lease.check();
    await writeTag(store, spec.name, digest, signal);
  });
  return { digest: version, ...counters };
}

/**
 * Stores folders of KILN_HOME. What has not arrived here as a whole does so first.
 * @param publish writes what refers to them, while nobody collects.
 */
export async function pushFolders(
  options: Pick<PushOptions, "home" | "store" | "onProgress" | "signal">,
  names: readonly string[],
  publish: (folders: StoredFolders, lease: Lease) => Promise<void>,
): Promise<PushCounters> {
  const { home, store, signal } = options;
  const folders = await inParallel(names, async (name) => ({
    name,
    files: await listFiles(join(home.root, name)),
  }));
  const total = folders.flatMap(({ files }) => files).reduce((sum, { bytes }) => sum + bytes, 0);
  await using lease = await useStore(store, signal);
  await using threads = new ChunkThreads();
  const counters: PushCounters = { read: 0, reused: 0, sent: 0, resumed: 0 };
  const context: PushContext = {
    store,
    threads,
    known: await readKnownChunks(store, signal),
    counters,
    reusedPacks: new Map(),
    onProgress: () => options.onProgress?.(counters, total),
    signal,
  };
  const stored: StoredFolders = {};
  for (const { name, files } of folders)
    stored[name] = await pushFolder(context, join(home.root, name), files);
  await checkPacks(context);
  lease.check();
  await publish(stored, lease);
  return counters;
}

async function findParts(home: KilnHome, spec: TemplateSpec): Promise<TemplateParts> {
  const [rootfs, kernel] = await Promise.all([findRootfs(home, spec), findKernel(home)]);
  const snapshots = rootfs && kernel ? await snapshotsOf(home, rootfs.key) : [];
  const fitting = snapshots.filter(({ subject }) => subject.kernel === kernel?.key);
  if (!rootfs || !kernel || fitting.length === 0) {
    throw new KilnError("TEMPLATE_NOT_FOUND", `the template ${spec.name} is not built here`, {
      hint: `kiln template build ${spec.name}`,
    });
  }
  const name = (path: string) => relative(home.root, path);
  return {
    disk: { base: name(dirname(rootfs.path)), layers: rootfs.layers.map((layer) => name(dirname(layer))) },
    kernel: name(home.artifact("kernel", kernel.key)),
    agent: name(home.artifact("agent", rootfs.record.agent_key)),
    snapshots: fitting.map(({ key }) => name(home.snapshot(key))),
  };
}

const ownSpec = ({ parent: _, ...own }: TemplateSpec): TemplateSpec => own;

/** What `spec` starts from, nearest first. */
function lineageOf(spec: TemplateSpec): TemplateSpec[] {
  const parent = parentOf(spec);
  return parent === undefined ? [] : [ownSpec(parent), ...lineageOf(parent)];
}

interface Found {
  /** Relative to the folder. */
  name: string;
  size: number;
  /** Without holes. */
  bytes: number;
  executable: true | undefined;
}

async function listFiles(folder: string): Promise<Found[]> {
  const list = () => readdir(folder, { recursive: true, withFileTypes: true });
  const late = (await list()).filter(({ name }) => name.endsWith(LAZY_SUFFIX));
  await ensureWhole(late.map(({ parentPath, name }) => join(parentPath, name.slice(0, -LAZY_SUFFIX.length))));
  const entries = await list();
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const found = await Promise.all(
    paths.map(async (path): Promise<Found> => {
      const { size, blocks, mode } = await stat(path);
      const bytes = Math.min(size, blocks * 512);
      return {
        name: relative(folder, path),
        size,
        bytes,
        executable: (mode & 0o100) !== 0 ? true : undefined,
      };
    }),
  );
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function pushFolder(
  context: PushContext,
  folder: string,
  files: readonly Found[],
): Promise<Record<string, StoredFile>> {
  const stored: Record<string, StoredFile> = {};
  for (const { name, size, executable } of files) {
    const path = join(folder, name);
    const mode = executable ? { executable } : {};
    if (size <= INLINE_BYTES) {
      stored[name] = { inline: (await readFile(path)).toString("base64"), ...mode };
      context.counters.read += size;
    } else {
      const { digest } = await pushImage(context, path, {
        memory: basename(name) === "memory",
        counts: countsOf(path),
      });
      stored[name] = { image: digest, size, lazy: isLazy(name), ...mode };
    }
  }
  return stored;
}

/** Which blocks of a disk layer's data count, or undefined when all of the file does. */
function countsOf(path: string): ((block: number) => boolean) | undefined {
  if (basename(path) !== "data") return undefined;
  const diff = Diff.open(dirname(path), "layer");
  diff.close();
  return (block) => diff.map.get(block) === DATA;
}

/** What others have sent must still be there: no push is worth anything without it. */
async function checkPacks({ store, reusedPacks, signal }: PushContext): Promise<void> {
  const check = async ([digest, length]: [string, number], linked: AbortSignal) => {
    const info = await store.head(keys.pack(digest), linked);
    if (info?.size === length) return;
    throw new KilnError("STORE_DAMAGED", `pack ${digest} in the store is ${info ? "cut short" : "missing"}`, {
      hint: "kiln store verify says which templates need it; push these again",
    });
  };
  await inParallel(reusedPacks, check, { atOnce: 8, signal });
}
