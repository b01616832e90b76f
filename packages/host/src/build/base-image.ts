import { rm } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import { lockFile } from "../os/file-lock.ts";
import { type OnProgress, runStage } from "../progress.ts";
import { debianSuite } from "../template/image-reference.ts";
import type { Sources } from "../template/sources.ts";
import { makeDebianImage, readProvenance } from "./debian-image.ts";
import { hasImage, inspectImage } from "./image-config.ts";
import { noSpace, saysNoSpace } from "./no-space.ts";
import { lastLine, runPodman, tryPodman, tryUsersPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

/** A registry that has not begun to answer by then counts as out of reach. */
const PULL_START_MS = 30_000;
const PULL_TOTAL_MS = 30 * 60_000;

export interface BaseImageOptions {
  signal?: AbortSignal;
  onProgress?: OnProgress;
  tmpdir: string;
  /** Where official Debian images come from. */
  source: Sources["debian_image"];
}

/**
 * Makes sure that Kiln's storage has `name`: it is there already, or the user's own storage has it, or the registry
 * gives it, or (debian:<suite>, where that is the source) it is made from Debian's archive.
 *
 * @throws KilnError `BASE_IMAGE_UNAVAILABLE` when none of these works, `DISK_FULL`.
 */
export async function ensureBaseImage(
  store: PodmanStore,
  name: string,
  options: BaseImageOptions,
): Promise<void> {
  const suite = options.source === "debian" ? debianSuite(name) : undefined;
  if (await hasRightImage(store, name, options, suite)) return;
  await using _lock = await lockFile(store.home.lock("base-image"), options.signal);
  if (await hasRightImage(store, name, options, suite)) return;
  await runStage(options.onProgress, `base image ${name}`, async (update) => {
    if (suite !== undefined) {
      update(`making ${name} of packages from Debian's own archive with mmdebstrap`);
      await makeDebianImage(store, name, suite, options, update);
      return;
    }
    if (await copyFromUser(store, name, options)) {
      update("taken from your own podman storage");
      return;
    }
    update("pulling");
    const failure = await pull(store, name, options);
    if (failure === undefined) return;
    if (saysNoSpace(failure)) throw noSpace(`podman pull: ${failure}`);
    const canBeMade = debianSuite(name) !== undefined;
    throw new KilnError("BASE_IMAGE_UNAVAILABLE", `cannot get the image ${name}: ${failure}`, {
      hint: canBeMade
        ? `where no registry is in reach, set "sources": {"debian_image": "debian"} in ${join(store.home.root, "config.json")}`
        : "check the name and the network, or bring the image here with podman load: a local image of that name is used",
    });
  });
}

/** @param suite set when the image has to be one that was made here */
async function hasRightImage(
  store: PodmanStore,
  name: string,
  { signal }: BaseImageOptions,
  suite: string | undefined,
): Promise<boolean> {
  if (!(await hasImage(store, name, signal))) return false;
  if (debianSuite(name) === undefined) return true;
  const { labels } = await inspectImage(store, name, signal);
  return (readProvenance(labels) !== undefined) === (suite !== undefined);
}

/** Copies `name` from the storage that `podman` uses when nobody says otherwise. */
async function copyFromUser(store: PodmanStore, name: string, options: BaseImageOptions): Promise<boolean> {
  const limits = options.signal ? { signal: options.signal } : {};
  for (const candidate of [name, name.replace(/^docker\.io\/(?:library\/)?/, "localhost/")]) {
    if ((await tryUsersPodman(["image", "exists", candidate], limits)).exitCode !== 0) continue;
    const archive = join(options.tmpdir, "base.tar");
    try {
      const saved = await tryUsersPodman(["save", "--quiet", "--output", archive, candidate], limits);
      if (saved.exitCode !== 0) return false;
      await runPodman(store, ["load", "--quiet", "--input", archive], { ...limits, tmpdir: options.tmpdir });
      if (candidate !== name) await runPodman(store, ["tag", candidate, name], limits);
      return true;
    } finally {
      await rm(archive, { force: true });
    }
  }
  return false;
}

/** Pulls `name`; the reason when that did not work. */
async function pull(
  store: PodmanStore,
  name: string,
  { signal, tmpdir }: BaseImageOptions,
): Promise<string | undefined> {
  const stalled = new AbortController();
  const timer = setTimeout(() => stalled.abort(), PULL_START_MS);
  try {
    const result = await tryPodman(store, ["pull", name], {
      signal: signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal,
      timeoutMs: PULL_TOTAL_MS,
      tmpdir,
      onLine: (line) => {
        if (/^(Getting image|Copying)/.test(line)) clearTimeout(timer);
      },
    });
    if (result.exitCode === 0) return undefined;
    return result.timedOut
      ? "it took more than half an hour"
      : lastLine(result.stderr).replace(/^Error: /, "");
  } catch (error) {
    if (stalled.signal.aborted && !signal?.aborted) return `no answer within ${PULL_START_MS / 1000} s`;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
