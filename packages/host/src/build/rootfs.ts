import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { type ExtraFile, writeExt4Image } from "../image/write-ext4-image.ts";
import { lockFile } from "../os/file-lock.ts";
import { runStage } from "../progress.ts";
import { generateContainerfile } from "../template/containerfile.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { canonicalHash, rootfsHash } from "../template/spec-hash.ts";
import { type Agent, agentKey, ensureAgent } from "./agent.ts";
import { publishFolder } from "./artifact-cache.ts";
import { type BuildOptions, type BuildSession, openBuildSession } from "./build-session.ts";
import { podmanVersion } from "./build-strategy.ts";
import { buildContainer } from "./container-build.ts";
import { readProvenance } from "./debian-image.ts";
import { exportImage } from "./export-image.ts";
import { GUEST_CONFIG_PATH, guestConfig } from "./guest-config.ts";
import { hostInputs } from "./host-inputs.ts";
import { type ImageConfig, inspectImage } from "./image-config.ts";
import { RECORD_FILE, ROOTFS_FILE, type RootfsRecord, readRootfsRecord } from "./rootfs-record.ts";
import { together } from "./together.ts";

/** Changes when the image writer or what this file adds to an image changes: every rootfs is then built anew. */
const IMAGE_FORMAT = 1;
const MIB = 1024 * 1024;

/** The root file system of a template, an ext4 image that nobody writes to. */
export interface Rootfs {
  key: string;
  /** The image file. */
  path: string;
  sizeBytes: number;
  /** What was asked for; its name, vcpu and memory may differ from what the image was first built for. */
  spec: TemplateSpec;
  record: RootfsRecord;
}

/** The key of the rootfs that `spec` has with the present agent. */
export async function rootfsKey(spec: TemplateSpec): Promise<string> {
  return canonicalHash({ image_format: IMAGE_FORMAT, spec: rootfsHash(spec), agent: await agentKey() });
}

/** The rootfs of `spec` if it has been built, without building anything. */
export async function findRootfs(home: KilnHome, spec: TemplateSpec): Promise<Rootfs | undefined> {
  return openRootfs(home, spec, await rootfsKey(spec));
}

/**
 * The rootfs of `spec`: from the cache, else built. Two builds of one spec at once do the work once.
 *
 * @throws KilnError `BUILD_FAILED`, `BASE_IMAGE_UNAVAILABLE`, `HOST_UNSUPPORTED`, `IMAGE_INVALID`, `DISK_FULL`, `CANCELLED`.
 * @example
 * const rootfs = await ensureRootfs(home, await resolveTemplate(home, "python"), { onProgress: console.error });
 */
export async function ensureRootfs(
  home: KilnHome,
  spec: TemplateSpec,
  options: BuildOptions = {},
): Promise<Rootfs> {
  const key = await rootfsKey(spec);
  const found = await openRootfs(home, spec, key);
  if (found) return found;
  await using _lock = await lockFile(home.lock(`rootfs-${key.slice(0, 16)}`), options.signal);
  const made = await openRootfs(home, spec, key);
  if (made) return made;
  await buildRootfs(home, spec, key, options);
  const built = await openRootfs(home, spec, key);
  if (!built) throw new KilnError("INTERNAL", `the rootfs ${key} cannot be read back`);
  return built;
}

async function openRootfs(home: KilnHome, spec: TemplateSpec, key: string): Promise<Rootfs | undefined> {
  const record = await readRootfsRecord(home, key);
  if (!record) return undefined;
  return { key, path: join(home.rootfs(key), ROOTFS_FILE), sizeBytes: record.size_bytes, spec, record };
}

async function buildRootfs(
  home: KilnHome,
  spec: TemplateSpec,
  key: string,
  options: BuildOptions,
): Promise<void> {
  const started = performance.now();
  await using session = await openBuildSession(home, spec.base_image, options);
  const image = await runStage(options.onProgress, `image ${spec.name}`, (update) =>
    buildImage(home, session, spec, key, options, update),
  );
  const built = performance.now();
  const folder = join(session.scratch, "rootfs");
  await mkdir(folder);
  const written = await runStage(options.onProgress, `rootfs ${spec.name}`, (update) =>
    writeRootfs(session, spec, key, image, folder, options, update),
  );
  const base = await inspectImage(session.store, spec.base_image, options.signal);
  const record: RootfsRecord = {
    version: 1,
    key,
    spec,
    base: {
      name: spec.base_image,
      image_id: base.id,
      digest: base.digest ?? null,
      made_here: readProvenance(base.labels) ?? null,
    },
    image_id: image.id,
    agent_key: await agentKey(),
    podman: await podmanVersion(session.store, options.signal),
    isolation: session.strategy,
    size_bytes: written.sizeBytes,
    used_bytes: written.usedBytes,
    inodes: written.inodes,
    digest: written.digest,
    built_at: new Date().toISOString(),
    build_ms: Math.round(built - started),
    export_ms: Math.round(performance.now() - built),
  };
  await writeFile(join(folder, RECORD_FILE), `${JSON.stringify(record, undefined, 2)}\n`);
  await publishFolder(folder, home.rootfs(key));
}

/** Builds the image; the agent is compiled meanwhile, as only the last step needs it. */
async function buildImage(
  home: KilnHome,
  session: BuildSession,
  spec: TemplateSpec,
  key: string,
  options: BuildOptions,
  onUpdate: (message: string, fraction?: number) => void,
): Promise<ImageConfig> {
  const context = join(session.scratch, "context");
  await mkdir(context);
  const flags = [...session.flags, ...(await hostInputs(join(session.scratch, "host")))];
  const build = (part: "base" | "all", signal: AbortSignal | undefined) => {
    const { text, buildArgs } = generateContainerfile(spec, part);
    return buildContainer(session.store, {
      containerfile: text,
      context,
      buildArgs,
      flags: part === "all" ? [...flags, `--tag=localhost/kiln:${key.slice(0, 32)}`] : flags,
      tmpdir: session.tmpdir,
      logPath: home.log(`image-${key.slice(0, 16)}`),
      ...(signal ? { signal } : {}),
      onUpdate,
    });
  };
  const [agent] = await together<Agent, string>(
    options.signal,
    (signal) => ensureAgent(home, { ...options, signal }),
    (signal) => build("base", signal),
  );
  await copyFile(agent.path, join(context, "agent"));
  const id = await build("all", options.signal);
  return inspectImage(session.store, id, options.signal);
}

async function writeRootfs(
  session: BuildSession,
  spec: TemplateSpec,
  key: string,
  image: ImageConfig,
  folder: string,
  { signal }: BuildOptions,
  update: (message: string) => void,
) {
  checkEnvironment(spec, image);
  const { tar, done } = await exportImage(session.store, image.id, {
    ...session,
    ...(signal ? { signal } : {}),
  });
  const writing = writeExt4Image({
    tar,
    path: join(folder, ROOTFS_FILE),
    sizeBytes: spec.disk_mib * MIB,
    extraFiles: extraFiles(spec, image),
    label: "kiln",
    seed: key,
    ...(signal ? { signal } : {}),
    onProgress: ({ tarBytes, entries }) => update(`${Math.round(tarBytes / MIB)} MiB, ${entries} files`),
  });
  const [written, exported] = await Promise.allSettled([writing, done]);
  if (exported.status === "rejected") throw exported.reason;
  if (written.status === "rejected") throw written.reason;
  return written.value;
}

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

/** Files that are Kiln's own. Podman leaves its own /etc/hosts and /etc/resolv.conf of the build, empty, in the image. */
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
