import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { finishLayer, layerData } from "../block/disk/write-layer.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import {
  type Ext4Image,
  type ExtraFile,
  type WriteExt4ImageOptions,
  writeExt4Image,
} from "../image/write-ext4-image.ts";
import { runStage } from "../progress.ts";
import { baseTag, CONSTRAINTS_FILE, generateContainerfile, usedSources } from "../template/containerfile.ts";
import { parentOf, writtenSpec } from "../template/lineage.ts";
import { lockSeconds } from "../template/lock.ts";
import type { Sources } from "../template/sources.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { VERSION } from "../version.ts";
import { type Agent, ensureAgent } from "./agent.ts";
import { publishFolder } from "./artifact-cache.ts";
import { type BuildOptions, limitsOf } from "./build-options.ts";
import { type BuildSession, openBuildSession } from "./build-session.ts";
import { podmanVersion } from "./build-strategy.ts";
import { buildContainer } from "./container-build.ts";
import { readProvenance } from "./debian-image.ts";
import { exportImage } from "./export-image.ts";
import { GUEST_CONFIG_PATH, guestConfig } from "./guest-config.ts";
import { hostInputs } from "./host-inputs.ts";
import { hasImage, type ImageConfig, inspectImage } from "./image-config.ts";
import { Inventory } from "./inventory/inventory.ts";
import { checkLock, missingFromApt, notToBeHad } from "./inventory/lock.ts";
import { PACKAGES_FILE, type PackagesFile } from "./inventory/packages-file.ts";
import { openRootfsReader, type RootfsFiles } from "./rootfs-reader.ts";
import { LAYER_FOLDER, RECORD_FILE, ROOTFS_FILE, type RootfsRecord } from "./rootfs-record.ts";
import { together } from "./together.ts";

const MIB = 1024 * 1024;

/** One rootfs to build. */
export interface RootfsJob extends BuildOptions {
  home: KilnHome;
  spec: TemplateSpec;
  key: string;
  /** The agent that `key` was made with. */
  agentKey: string;
  /** Where tools and Debian's image come from. */
  sources: Sources;
  /** The rootfs of the template that the spec starts from. */
  parent?: ParentRootfs;
}

/** A rootfs that another one can be a layer on. */
export interface ParentRootfs extends RootfsFiles {
  key: string;
  record: RootfsRecord;
}

/** Builds the image with podman, writes its files to an ext4 image and publishes that with its record. */
export async function buildRootfs(job: RootfsJob): Promise<void> {
  const { home, spec, key, onProgress, signal } = job;
  const started = performance.now();
  await using session = await openBuildSession(home, spec.base_image, job);
  const image = await runStage(onProgress, `image ${spec.name}`, (update) =>
    buildImage(job, session, update),
  );
  const built = performance.now();
  const folder = join(session.scratch, "rootfs");
  await mkdir(folder);
  const inventory = new Inventory();
  const written = await runStage(onProgress, `rootfs ${spec.name}`, (update) =>
    writeRootfs(job, session, image, folder, inventory, update),
  );
  const base = await inspectImage(session.store, spec.base_image, signal);
  const record: RootfsRecord = {
    version: 1,
    kiln: VERSION,
    key,
    parent: sharedParent(job)?.key ?? null,
    spec: writtenSpec(spec),
    base: {
      name: spec.base_image,
      image_id: base.id,
      digest: base.digest ?? null,
      made_here: readProvenance(base.labels) ?? null,
    },
    sources: usedSources(spec, job.sources),
    image_id: image.id,
    agent_key: job.agentKey,
    podman: await podmanVersion(session.store, signal),
    isolation: session.strategy,
    size_bytes: written.sizeBytes,
    used_bytes: written.usedBytes,
    inodes: written.inodes,
    digest: written.digest,
    built_at: new Date().toISOString(),
    build_ms: Math.round(built - started),
    export_ms: Math.round(performance.now() - built),
  };
  if (spec.lock) checkLock(spec.lock, inventory.packages);
  const packages: PackagesFile = {
    version: 1,
    distribution: inventory.distribution ?? null,
    packages: inventory.packages,
  };
  await writeFile(join(folder, PACKAGES_FILE), `${JSON.stringify(packages)}\n`);
  await writeFile(join(folder, RECORD_FILE), `${JSON.stringify(record, undefined, 2)}\n`);
  await publishFolder(folder, home.rootfs(key));
}

/** Builds the image; the agent is compiled meanwhile, as only the last step needs it. */
async function buildImage(
  job: RootfsJob,
  session: BuildSession,
  onUpdate: (message: string, fraction?: number) => void,
): Promise<ImageConfig> {
  const { home, spec, key, sources } = job;
  const context = join(session.scratch, "context");
  await mkdir(context);
  const hostFlags = await hostInputs(join(session.scratch, "host"));
  if (spec.lock) {
    await writeFile(
      join(session.scratch, "host", basename(CONSTRAINTS_FILE)),
      `${spec.lock.pypi.join("\n")}\n`,
    );
  }
  const build = (of: TemplateSpec, part: "base" | "all", tag: string, log: string, signal?: AbortSignal) => {
    const { text, buildArgs } = generateContainerfile(of, sources, part);
    return buildContainer(session.store, {
      containerfile: text,
      context,
      buildArgs,
      flags: [...session.flags, ...hostFlags, `--tag=${tag}`],
      tmpdir: session.tmpdir,
      logPath: home.log(log),
      ...limitsOf({ ...job, signal }),
      onUpdate,
    });
  };
  /** What the template starts from, then the template itself, without the agent. */
  const buildBase = async (of: TemplateSpec, log: string, signal: AbortSignal): Promise<void> => {
    const parent = parentOf(of);
    if (parent && !(await hasImage(session.store, baseTag(parent, sources), signal))) {
      await buildBase(parent, `${log}-from`, signal);
    }
    await build(of, "base", baseTag(of, sources), log, signal);
  };
  const log = `image-${key.slice(0, 16)}`;
  const [agent] = await together<Agent, void>(
    job.signal,
    (signal) => ensureAgent(home, { ...job, signal }),
    (signal) => buildBase(spec, log, signal),
  ).catch((error) => {
    throw explainLocked(spec, error);
  });
  if (agent.key !== job.agentKey) {
    throw new KilnError("BUILD_FAILED", "the agent's sources changed while the image was built", {
      hint: "build again",
    });
  }
  await copyFile(agent.path, join(context, "agent"));
  const image = await build(spec, "all", `localhost/kiln:${key.slice(0, 32)}`, `${log}-agent`, job.signal);
  return inspectImage(session.store, image, job.signal);
}

/** Where apt has not found a version of the lock, says so. */
function explainLocked({ lock }: TemplateSpec, error: unknown): unknown {
  if (!lock || !(error instanceof KilnError) || !Array.isArray(error.details?.tail)) return error;
  const missing = missingFromApt(error.details.tail.map(String));
  return missing.length === 0 ? error : notToBeHad(missing, [], error);
}

/** The parent that blocks are shared with: a disk of another size has everything elsewhere. */
const sharedParent = ({ spec, parent }: RootfsJob): ParentRootfs | undefined =>
  parent?.sizeBytes === spec.disk_mib * MIB ? parent : undefined;

/** Writes the image's files to the folder: as an image of its own, or as a layer on the parent's. */
async function writeRootfs(
  job: RootfsJob,
  session: BuildSession,
  image: ImageConfig,
  folder: string,
  inventory: Inventory,
  update: (message: string) => void,
): Promise<Ext4Image> {
  const parent = sharedParent(job);
  if (parent === undefined) {
    return writeImage(job, session, image, { path: join(folder, ROOTFS_FILE), observer: inventory }, update);
  }
  const layer = join(folder, LAYER_FOLDER);
  await mkdir(layer, { mode: 0o700 });
  using reader = await openRootfsReader(parent);
  const below = { blocks: reader.blocks, digest: parent.record.digest };
  const target = { path: layerData(layer), observer: inventory, parent: below };
  const written = await writeImage(job, session, image, target, update);
  await finishLayer(layer, {
    sizeBytes: parent.sizeBytes,
    // Of its content: a layer that is built again fits below what was made on the first.
    identity: written.digest.slice("sha256:".length).slice(0, 32),
    parent: reader.top,
    data: written.changes?.data ?? [],
    zeros: written.changes?.zeros ?? [],
  });
  return written;
}

async function writeImage(
  { spec, key, signal }: RootfsJob,
  session: BuildSession,
  image: ImageConfig,
  target: Pick<WriteExt4ImageOptions, "path" | "observer" | "parent">,
  update: (message: string) => void,
): Promise<Ext4Image> {
  checkEnvironment(spec, image);
  await using exported = await exportImage(session.store, image.id, {
    ...session,
    ...(signal ? { signal } : {}),
  });
  const writing = writeExt4Image({
    ...target,
    tar: exported.tar,
    sizeBytes: spec.disk_mib * MIB,
    extraFiles: extraFiles(spec, image),
    label: "kiln",
    seed: key,
    durable: true,
    ...(spec.lock
      ? { reproducible: { newestSeconds: lockSeconds(spec.lock), omits: (entry) => TRACES.test(entry) } }
      : {}),
    ...(signal ? { signal } : {}),
    onProgress: ({ tarBytes, entries }) => update(`${Math.round(tarBytes / MIB)} MiB, ${entries} files`),
  });
  try {
    const written = await writing;
    await exported.done;
    return written;
  } catch (error) {
    // Where podman failed, an archive that ends too early is only what came of it.
    if (exported.tar.readableEnded) await exported.done;
    throw error;
  }
}

/** Logs, package caches and spare copies that a build leaves: they hold its times, and a locked image is without them. */
const TRACES =
  /^(?:var\/log\/(?:apt\/|dpkg\.log|alternatives\.log|bootstrap\.log|fontconfig\.log)|var\/cache\/(?:ldconfig|debconf|apt)\/.|var\/lib\/dpkg\/[^/]*-old$|root\/\.npm\/|root\/\.cache\/(?:pip|uv|node-gyp)\/|tmp\/.|run\/.)/;

/** Podman must have understood every value as it was meant; a difference is a mistake of Kiln's, so it is loud. */
function checkEnvironment(spec: TemplateSpec, image: ImageConfig): void {
  const env = new Map(image.env);
  const wrong = Object.keys(spec.env).filter((name) => env.get(name) !== spec.env[name]);
  if (wrong.length > 0) {
    throw new KilnError("INTERNAL", `podman changed the value of ${wrong.join(", ")}`, {
      details: { variables: wrong },
    });
  }
}

/** Files that are Kiln's own. Podman leaves the build's /etc/hosts and /etc/resolv.conf, empty, in the image. */
function extraFiles(spec: TemplateSpec, image: ImageConfig): ExtraFile[] {
  const file = (path: string, content: string): ExtraFile => ({
    path,
    mode: 0o644,
    uid: 0,
    gid: 0,
    content: Buffer.from(content),
  });
  return [
    file(GUEST_CONFIG_PATH, guestConfig(spec, image)),
    file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
    file("/etc/resolv.conf", ""),
  ];
}
