import { lstat, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { openQuietStore } from "../build/stored-images.ts";
import type { KilnHome } from "../home.ts";
import { openOwnedFolder } from "../os/owned-folder.ts";
import { isAlive } from "../os/process-id.ts";
import type { Holdings } from "../sandbox/holdings.ts";
import { type KnownTemplate, pointersTo, readCaches } from "./caches.ts";
import { planImages } from "./images.ts";
import { DiskMeter, ifThere } from "./measure.ts";
import { type CachePart, type Part, type PartKind, type Policy, planCaches } from "./plan.ts";

/** Logs and the records of builds that ended are kept for so long unless the policy says how long, in milliseconds. */
export const LOGS_KEPT_MS = 7 * 24 * 3600_000;
/** The daemon's own; it is open as long as that runs. */
const DAEMON_LOG = "daemon.log";

/** The daemon's builds that have ended. */
export interface EndedBuilds {
  ended: () => { id: string; template: string; endedMs: number }[];
  forget: (id: string) => Promise<void>;
}

export interface CollectOptions extends Policy {
  home: KilnHome;
  holdings: Holdings;
  builds: EndedBuilds;
  /** Only says what would be removed. */
  dryRun: boolean;
}

export interface CollectedPart {
  kind: PartKind;
  name: string;
  reason: string;
  /** On the disk. */
  bytes: number;
}

export interface Collected {
  removed: CollectedPart[];
  kept: CollectedPart[];
  /** What was not looked at, and why. */
  skipped: string[];
}

/**
 * Removes what nothing needs and nobody could start from by a name. What refers goes before what it refers to, each in one step, and what was
 * renamed into `tmp/` is removed there: a collection that is cut off leaves a home that works, and the next one goes on.
 */
export async function collectGarbage(options: CollectOptions): Promise<Collected> {
  const result: Collected = { removed: [], kept: [], skipped: [] };
  const { templates, keptRootfs } = await collectCaches(options, result);
  await collectImages(options, templates, keptRootfs, result);
  await collectBuilds(options, result);
  await collectLeftovers(options, result);
  return result;
}

async function collectCaches(
  { home, holdings, dryRun, ...policy }: CollectOptions,
  result: Collected,
): Promise<{ templates: KnownTemplate[]; keptRootfs: string[] }> {
  await using grave = await openOwnedFolder(home.tmp);
  const buried = (index: number) => join(grave.path, String(index));
  const { caches, plan } = await holdings.remove(async (needed) => {
    const caches = await readCaches(home);
    const plan = planCaches(caches, needed, policy, Date.now());
    if (dryRun) return { caches, plan };
    for (const [index, part] of plan.removed.entries()) {
      if (part.kind === "kernel") {
        for (const pointer of await pointersTo(home, part.key)) await rm(pointer, { force: true });
      }
      await ifThere(rename(folderOf(home, part), buried(index)));
    }
    return { caches, plan };
  });
  const meter = await DiskMeter.open(home.root);
  for (const [index, { kind, name, reason, ...part }] of plan.removed.entries()) {
    const place = dryRun ? folderOf(home, { kind, ...part }) : buried(index);
    result.removed.push({ kind, name, reason, bytes: await meter.measure(place) });
  }
  for (const { kind, name, reason, ...part } of plan.kept) {
    result.kept.push({ kind, name, reason, bytes: await meter.measure(folderOf(home, { kind, ...part })) });
  }
  const keptRootfs = plan.kept.filter(({ kind }) => kind === "template").map(({ key }) => key);
  return { templates: caches.templates, keptRootfs };
}

function folderOf(home: KilnHome, { kind, key }: Pick<CachePart, "kind" | "key">): string {
  if (kind === "template") return home.rootfs(key);
  return kind === "snapshot" ? home.snapshot(key) : home.artifact(kind, key);
}

/** Podman's images, and the logs of what was built in its storage: nothing is built there meanwhile. */
async function collectImages(
  options: CollectOptions,
  templates: readonly KnownTemplate[],
  keptRootfs: readonly string[],
  result: Collected,
): Promise<void> {
  const { home, dryRun } = options;
  const found = await openQuietStore(home);
  if (found === undefined) return;
  if (found === "busy") {
    result.skipped.push("images and logs: something is being built");
    return;
  }
  await using store = found;
  const plan = planImages(store.images, templates, keptRootfs, options, Date.now());
  if (!dryRun) await store.remove(plan.removed.map(({ id }) => id));
  const told = ({ kind, name, reason, bytes }: CollectedPart) => ({ kind, name, reason, bytes });
  result.removed.push(...plan.removed.map(told));
  result.kept.push(...plan.kept.map(told));
  const logs = dirname(home.log("."));
  for (const name of await readdir(logs).catch(() => [])) {
    const path = join(logs, name);
    const { mtimeMs } = (await ifThere(stat(path))) ?? { mtimeMs: 0 };
    if (name === DAEMON_LOG || Date.now() - mtimeMs < logsKeptMs(options)) continue;
    await remove(path, { kind: "log", name, reason: "it is of a build long ago" }, options, result);
  }
}

async function collectBuilds(options: CollectOptions, result: Collected): Promise<void> {
  const { home, builds, dryRun } = options;
  const meter = await DiskMeter.open(home.root);
  for (const { id, template, endedMs } of builds.ended()) {
    if (Date.now() - endedMs < logsKeptMs(options)) continue;
    const bytes = await meter.measure(join(home.builds, id));
    if (!dryRun) await builds.forget(id);
    const reason = "it ended long ago";
    result.removed.push({ kind: "build", name: `${id} of ${template}`, reason, bytes });
  }
}

const logsKeptMs = ({ olderThanMs }: CollectOptions): number => olderThanMs ?? LOGS_KEPT_MS;

/** What processes that are gone have left. */
async function collectLeftovers(options: CollectOptions, result: Collected): Promise<void> {
  const { home } = options;
  for (const folder of [home.tmp, home.runs, home.uses]) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (isAlive(name.split(".")[0] ?? "")) continue;
      const part = { kind: "leftover", reason: "its process is gone" } as const;
      await remove(join(folder, name), { ...part, name: `${basename(folder)}/${name}` }, options, result);
    }
  }
}

/** Removes something; what somebody else removed meanwhile is not told of. */
async function remove(
  path: string,
  part: Part,
  { home, dryRun }: CollectOptions,
  result: Collected,
): Promise<void> {
  const bytes = await (await DiskMeter.open(home.root)).measure(path);
  if ((await ifThere(lstat(path))) === undefined) return;
  if (!dryRun) await rm(path, { recursive: true, force: true });
  result.removed.push({ ...part, bytes });
}
