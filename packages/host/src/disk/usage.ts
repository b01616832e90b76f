import { readdir, statfs } from "node:fs/promises";
import { join, relative } from "node:path";
import { storeBytes } from "../build/stored-images.ts";
import type { KilnHome } from "../home.ts";
import type { SandboxRecord } from "../sandbox/sandbox-record.ts";
import { listSavedTemplates } from "../sandbox/saved-template.ts";
import { type CachedRootfs, type Caches, readCaches } from "./caches.ts";
import { DiskMeter } from "./measure.ts";
import { builtFor, partName } from "./plan.ts";

/** Something that takes room on the disk. */
export interface DiskEntry {
  kind: "template" | "snapshot" | "sandbox" | "cache";
  name: string;
  /** Bytes that only this one needs. */
  ownBytes: number;
  /** Bytes that it needs and others as well. */
  sharedBytes: number;
}

export interface DiskUsage {
  /** All of KILN_HOME: the own bytes of every entry, and `sharedBytes`. */
  totalBytes: number;
  /** Bytes that several entries need, each counted once. */
  sharedBytes: number;
  /** Room that is left on the file system. */
  freeBytes: number;
  entries: DiskEntry[];
}

/** Folders whose contents are parts that entries name; everything else belongs to one entry. */
const PARTED = ["rootfs", "snapshots", "layers", "saved", "sandboxes"];
/** What the rest of KILN_HOME is. */
const CACHES: Readonly<Record<string, string>> = {
  containers: "images and build steps",
  artifacts: "kernel and agent",
  chunks: "chunks of the store",
  builds: "builds and logs",
  logs: "builds and logs",
  runtime: "Kiln's own programs",
};
const REST = "everything else";

/** Tells who needs how much of the disk. Sandboxes that run go on writing meanwhile: it is right as of now. */
export async function measureUsage(home: KilnHome, records: readonly SandboxRecord[]): Promise<DiskUsage> {
  const [caches, sizes, { bavail, bsize }] = await Promise.all([
    readCaches(home),
    measureParts(home),
    statfs(home.root),
  ]);
  const needs = new Map<Omit<DiskEntry, "ownBytes" | "sharedBytes">, ReadonlySet<string>>();
  for (const need of [
    ...templateNeeds(caches),
    ...(await savedTemplateNeeds(home, caches)),
    ...snapshotNeeds(caches),
    ...records.map((record) => sandboxNeeds(record, caches)),
  ]) {
    const { parts, ...entry } = need;
    needs.set(entry, new Set(parts.filter((part) => sizes.has(part))));
  }
  const users = new Map<string, number>();
  for (const parts of needs.values()) for (const part of parts) users.set(part, (users.get(part) ?? 0) + 1);
  const sum = (parts: Iterable<string>, counts: (users: number) => boolean) => {
    let bytes = 0;
    for (const part of parts) if (counts(users.get(part) ?? 0)) bytes += sizes.get(part) ?? 0;
    return bytes;
  };
  const entries: DiskEntry[] = [...needs].map(([entry, parts]) => ({
    ...entry,
    ownBytes: sum(parts, (count) => count === 1),
    sharedBytes: sum(parts, (count) => count > 1),
  }));
  const cacheBytes = new Map<string, number>();
  for (const [part, bytes] of sizes) {
    if (users.has(part)) continue;
    const name = CACHES[part] ?? REST;
    cacheBytes.set(name, (cacheBytes.get(name) ?? 0) + bytes);
  }
  for (const [name, ownBytes] of cacheBytes) entries.push({ kind: "cache", name, ownBytes, sharedBytes: 0 });
  return {
    totalBytes: sum(sizes.keys(), () => true),
    sharedBytes: sum(sizes.keys(), (count) => count > 1),
    freeBytes: bavail * bsize,
    entries,
  };
}

/** Bytes of everything in KILN_HOME by its name there: `rootfs/KEY`, `containers`, and "." for the folders themselves. */
async function measureParts(home: KilnHome): Promise<Map<string, number>> {
  const meter = await DiskMeter.open(home.root);
  const images = relative(home.root, home.containers);
  const sizes = new Map([[images, await storeBytes(home)]]);
  let folders = await meter.measureOne(home.root);
  for (const name of await readdir(home.root)) {
    if (name === images) continue;
    const path = join(home.root, name);
    if (!PARTED.includes(name)) {
      sizes.set(name, await meter.measure(path));
      continue;
    }
    folders += await meter.measureOne(path);
    for (const part of await readdir(path))
      sizes.set(join(name, part), await meter.measure(join(path, part)));
  }
  return sizes.set(".", folders);
}

interface Need {
  kind: DiskEntry["kind"];
  name: string;
  parts: string[];
}

/** A template is what a name stands for; a rootfs that has none is listed by its key. */
function templateNeeds(caches: Caches): Need[] {
  const named = caches.templates.flatMap(({ name, rootfs }) =>
    caches.rootfs.some(({ key }) => key === rootfs)
      ? [{ kind: "template" as const, name, parts: lineage(caches, rootfs) }]
      : [],
  );
  const known = new Set(caches.templates.map(({ rootfs }) => rootfs));
  const older = caches.rootfs
    .filter(({ key }) => !known.has(key))
    .map((entry) => ({
      kind: "template" as const,
      name: partName(builtFor(entry), entry.key),
      parts: lineage(caches, entry.key),
    }));
  return [...named, ...older];
}

async function savedTemplateNeeds(home: KilnHome, caches: Caches): Promise<Need[]> {
  return (await listSavedTemplates(home)).map(({ name, source, base, layers }) => ({
    kind: "template",
    name,
    parts: [source.folder, ...layers, base].flatMap((path) => partsOf(caches, path)),
  }));
}

function snapshotNeeds(caches: Caches): Need[] {
  const byKey = new Map(caches.rootfs.map((entry) => [entry.key, entry]));
  return caches.snapshots.map(({ key, manifest }) => {
    const { rootfs, vcpu, memoryMib } = manifest?.subject ?? {};
    const made: CachedRootfs | undefined = byKey.get(rootfs ?? "");
    const size = manifest ? ` (${vcpu} vCPU, ${memoryMib} MiB)` : "";
    return {
      kind: "snapshot",
      name: `${partName(made && builtFor(made), key)}${size}`,
      parts: [`snapshots/${key}`, ...lineage(caches, rootfs)],
    };
  });
}

function sandboxNeeds({ id, template, state, disk, source }: SandboxRecord, caches: Caches): Need {
  const { base, layers, diff, nextDiff } = disk;
  const held =
    state === "dead" ? [] : [source.folder, ...layers, base, diff, ...(nextDiff ? [nextDiff] : [])];
  return {
    kind: "sandbox",
    name: `${id} (${template}, ${state})`,
    parts: [`sandboxes/${id}`, ...held.flatMap((path) => partsOf(caches, path))],
  };
}

/** The parts that a path below KILN_HOME is in or needs. */
function partsOf(caches: Caches, path: string): string[] {
  const [folder = "", name = ""] = path.split("/");
  return folder === "rootfs" ? lineage(caches, name) : [`${folder}/${name}`];
}

/** A rootfs and those that it is a layer on. */
function lineage(caches: Caches, key: string | null | undefined): string[] {
  if (key === null || key === undefined) return [];
  const record = caches.rootfs.find((entry) => entry.key === key)?.record;
  return [`rootfs/${key}`, ...lineage(caches, record?.parent)];
}
