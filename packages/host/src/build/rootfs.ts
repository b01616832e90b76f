import { join } from "node:path";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { lockFile } from "../os/file-lock.ts";
import { usedSources } from "../template/containerfile.ts";
import { parentOf } from "../template/lineage.ts";
import type { Sources } from "../template/sources.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { canonicalHash, rootfsHash } from "../template/spec-hash.ts";
import { agentKey } from "./agent.ts";
import type { BuildOptions } from "./build-options.ts";
import type { RootfsJob } from "./rootfs-build.ts";
import { LAYER_FOLDER, ROOTFS_FILE, type RootfsRecord, readRootfsRecord } from "./rootfs-record.ts";
import { ensureSources } from "./sources/ensure-sources.ts";
import { knownSources } from "./sources/known-sources.ts";

/** Changes when the image writer or what Kiln adds to an image changes: every rootfs is then built anew. */
const IMAGE_FORMAT = 2;

/** The root file system of a template, an ext4 image that nobody writes to: a file, and layers of what differs from it. */
export interface Rootfs {
  key: string;
  /** The image file at the bottom. */
  path: string;
  /** Folders of the sealed diffs on it, lowest first: one for each template on the way from there to this one. */
  layers: string[];
  sizeBytes: number;
  /** What was asked for; its name, vcpu and memory may differ from what the image was first built for. */
  spec: TemplateSpec;
  record: RootfsRecord;
}

/** The key of the rootfs that `spec` has with the present agent, or undefined while no build has found its sources. */
export async function rootfsKey(home: KilnHome, spec: TemplateSpec): Promise<string | undefined> {
  const [agent, sources] = await Promise.all([agentKey(), knownSources(home)]);
  return sources && keyOf(spec, agent, sources);
}

/** The rootfs of `spec` if it has been built, without building anything. */
export async function findRootfs(home: KilnHome, spec: TemplateSpec): Promise<Rootfs | undefined> {
  const key = await rootfsKey(home, spec);
  return key === undefined ? undefined : openRootfs({ home, spec, key });
}

/**
 * The rootfs of `spec`: from the cache, else built. Two builds of one spec at once do the work once.
 *
 * @throws KilnError `BUILD_FAILED`, `BUILD_TIMEOUT`, `BASE_IMAGE_UNAVAILABLE`, `HOST_UNSUPPORTED`, `IMAGE_INVALID`,
 * `DISK_FULL`, `CANCELLED`.
 * @example
 * const rootfs = await ensureRootfs(home, await resolveTemplate(home, "python"), { onProgress: console.error });
 */
export async function ensureRootfs(
  home: KilnHome,
  spec: TemplateSpec,
  options: BuildOptions = {},
): Promise<Rootfs> {
  const [agent, sources] = await Promise.all([agentKey(), ensureSources(home, options)]);
  const job: RootfsJob = {
    home,
    spec,
    key: keyOf(spec, agent, sources),
    agentKey: agent,
    sources,
    ...options,
  };
  await options.uses?.add([home.rootfs(job.key)], options.signal);
  const found = openRootfs(job);
  if (found) return found;
  const parentSpec = parentOf(spec);
  // Before the lock is taken: it is a rootfs like any other, with a lock of its own.
  const parent = parentSpec && (await ensureRootfs(home, parentSpec, options));
  if (parent) job.parent = parent;
  await using _lock = await lockFile(home.lock(`rootfs-${job.key.slice(0, 16)}`), options.signal);
  const made = openRootfs(job);
  if (made) return made;
  // Loaded when there is something to build; most runs find everything built and start sooner without it.
  const { buildRootfs } = await import("./rootfs-build.ts");
  await buildRootfs(job);
  const built = openRootfs(job);
  if (!built) throw new KilnError("INTERNAL", `the rootfs ${job.key} cannot be read back`);
  return built;
}

function keyOf(spec: TemplateSpec, agent: string, sources: Sources): string {
  const used = usedSources(spec, sources);
  return canonicalHash({ image_format: IMAGE_FORMAT, spec: rootfsHash(spec), sources: used, agent });
}

function openRootfs({ home, spec, key }: Pick<RootfsJob, "home" | "spec" | "key">): Rootfs | undefined {
  const files = openFiles(home, key, 0);
  if (!files) return undefined;
  const { record, path, layers } = files;
  return { key, path, layers, sizeBytes: record.size_bytes, spec, record };
}

/** More rootfs on each other than this are none of Kiln's. */
const MAX_LINEAGE = 32;

function openFiles(
  home: KilnHome,
  key: string,
  depth: number,
): { record: RootfsRecord; path: string; layers: string[] } | undefined {
  const record = readRootfsRecord(home, key);
  if (!record || depth > MAX_LINEAGE) return undefined;
  if (record.parent === null) return { record, path: join(home.rootfs(key), ROOTFS_FILE), layers: [] };
  const below = openFiles(home, record.parent, depth + 1);
  return (
    below && { record, path: below.path, layers: [...below.layers, join(home.rootfs(key), LAYER_FOLDER)] }
  );
}
