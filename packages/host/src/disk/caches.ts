import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { agentKey } from "../build/agent.ts";
import { findKernel } from "../build/kernel.ts";
import { rootfsKey } from "../build/rootfs.ts";
import { type RootfsRecord, readRootfsRecord } from "../build/rootfs-record.ts";
import { knownSources } from "../build/sources/known-sources.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { LAZY_SUFFIX } from "../lazy/lazy-file.ts";
import {
  readManifest,
  type SnapshotManifest,
  type SnapshotSubject,
  snapshotKey,
  snapshotPaths,
  subjectOf,
} from "../snapshot/manifest.ts";
import { baseTag } from "../template/containerfile.ts";
import { checksOf, parentOf } from "../template/lineage.ts";
import type { Sources } from "../template/sources.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { listTemplates, resolveTemplate } from "../template/templates.ts";
import { EngineName, knownEngine } from "../vmm/engines.ts";
import type { Vmm } from "../vmm/vmm.ts";

/** What a template's name stands for now. */
export interface KnownTemplate {
  name: string;
  /** Key of its rootfs; undefined where that is not known: its spec is broken, or no build has found its sources. */
  rootfs: string | undefined;
  /** Key of the snapshot in its own size; undefined where that is not known. */
  snapshot: string | undefined;
  /** Names in Podman's storage that its builds start from. */
  images: string[];
}

/** Something in a cache. */
export interface Cached {
  key: string;
  /** When it was used last, as far as is known, else made; in milliseconds since 1970. */
  usedMs: number;
  /** Whether parts of it are still fetched from the store. */
  isArriving: boolean;
}

export interface CachedRootfs extends Cached {
  /** Undefined when this version of Kiln cannot use it. */
  record: RootfsRecord | undefined;
}

export interface CachedSnapshot extends Cached {
  /** Undefined when it cannot be used. */
  manifest: SnapshotManifest | undefined;
  /** Whether it is of another kernel or QEMU than the present ones: nothing starts from it any more. */
  isOutdated: boolean;
}

export interface CachedArtifact extends Cached {
  /** Whether it is the one that is used now. */
  isPresent: boolean;
}

/** What was built here, and what of it has a name. */
export interface Caches {
  templates: KnownTemplate[];
  rootfs: CachedRootfs[];
  snapshots: CachedSnapshot[];
  kernels: CachedArtifact[];
  agents: CachedArtifact[];
}

/** Reads records and manifests; how much they take on the disk is not looked at. */
export async function readCaches(home: KilnHome): Promise<Caches> {
  const kernel = await findKernel(home);
  const present = kernel && {
    kernel,
    engines: await knownEngines(home, kernel),
    chosen: await knownEngine(undefined, { probeFile: home.probe, kernel }),
  };
  const [templates, snapshots, kernels, agents] = await Promise.all([
    knownTemplates(home, present),
    readSnapshots(home, present),
    readArtifacts(home, "kernel", kernel?.key),
    readArtifacts(home, "agent", await agentKey()),
  ]);
  const rootfs = await Promise.all(
    (await foldersIn(home.rootfs("."))).map(async (key): Promise<CachedRootfs> => {
      const record = readRootfsRecord(home, key);
      const resumed = snapshots.filter(({ manifest }) => manifest?.subject.rootfs === key);
      const made = record ? Date.parse(record.built_at) : await modifiedMs(home.rootfs(key));
      const usedMs = Math.max(made, ...resumed.map((snapshot) => snapshot.usedMs));
      return { key, record, usedMs, isArriving: await isArriving(home.rootfs(key)) };
    }),
  );
  return { templates, rootfs, snapshots, kernels, agents };
}

async function knownEngines(home: KilnHome, kernel: { key: string }): Promise<Vmm[]> {
  const found = EngineName.options.map((name) => knownEngine(name, { probeFile: home.probe, kernel }));
  return (await Promise.all(found)).filter((engine) => engine !== undefined);
}

interface Present {
  kernel: { key: string };
  engines: Vmm[];
  /** The one that is taken where nobody asks for another. */
  chosen: Vmm | undefined;
}

async function knownTemplates(home: KilnHome, present: Present | undefined): Promise<KnownTemplate[]> {
  const sources = await knownSources(home);
  const known: KnownTemplate[] = [];
  for (const { name } of await listTemplates(home)) {
    const unknown: KnownTemplate = { name, rootfs: undefined, snapshot: undefined, images: [] };
    try {
      const spec = await resolveTemplate(home, name);
      const rootfs = await rootfsKey(home, spec);
      if (rootfs === undefined || sources === undefined) known.push(unknown);
      else {
        const snapshot = present?.chosen && ownSnapshot(spec, rootfs, present.kernel, present.chosen);
        known.push({ name, rootfs, snapshot, images: imagesOf(spec, sources) });
      }
    } catch (error) {
      if (!(error instanceof KilnError)) throw error;
      known.push(unknown);
    }
  }
  return known;
}

function ownSnapshot(spec: TemplateSpec, key: string, kernel: { key: string }, vmm: Vmm): string {
  const size = { vcpu: spec.vcpu, memoryMib: spec.memory_mib };
  return snapshotKey(subjectOf({ key }, kernel, vmm, size, checksOf(spec)));
}

function imagesOf(spec: TemplateSpec, sources: Sources): string[] {
  const parent = parentOf(spec);
  return [baseTag(spec, sources), ...(parent ? imagesOf(parent, sources) : [spec.base_image])];
}

async function readSnapshots(home: KilnHome, present: Present | undefined): Promise<CachedSnapshot[]> {
  return Promise.all(
    (await foldersIn(home.snapshots)).map(async (key): Promise<CachedSnapshot> => {
      const manifest = readManifest(home, key);
      return {
        key,
        manifest,
        usedMs: await modifiedMs(snapshotPaths(home.snapshot(key)).manifest),
        isArriving: await isArriving(home.snapshot(key)),
        isOutdated: manifest !== undefined && present !== undefined && isOutdated(manifest.subject, present),
      };
    }),
  );
}

function isOutdated({ kernel, vmm }: SnapshotSubject, present: Present): boolean {
  if (kernel !== present.kernel.key) return true;
  const engine = present.engines.find(({ engine }) => engine === vmm.engine);
  if (engine === undefined) return false; // Nothing is known of it, so nothing has changed.
  const { identity } = engine;
  const names = new Set([...Object.keys(vmm), ...Object.keys(identity)]);
  return [...names].some((name) => vmm[name] !== identity[name]);
}

async function readArtifacts(
  home: KilnHome,
  kind: "agent" | "kernel",
  present: string | undefined,
): Promise<CachedArtifact[]> {
  const keys = await foldersIn(home.artifact(kind, "."));
  return Promise.all(
    keys.map(async (key) => ({
      key,
      usedMs: await modifiedMs(home.artifact(kind, key)),
      isArriving: await isArriving(home.artifact(kind, key)),
      isPresent: key === present,
    })),
  );
}

/** The files, by path, in which the kernel `key` is named as the one that some sources made. */
export async function pointersTo(home: KilnHome, key: string): Promise<string[]> {
  const folder = home.artifact("kernel", ".");
  const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".json"));
  const paths = files.map((name) => join(folder, name));
  const texts = await Promise.all(paths.map((path) => readFile(path, "utf8").catch(() => "")));
  return paths.filter((_, index) => texts[index]?.includes(key));
}

async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

async function isArriving(folder: string): Promise<boolean> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.some((name) => name.endsWith(LAZY_SUFFIX));
}

/** Of what has gone meanwhile, 0. */
const modifiedMs = (path: string): Promise<number> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
