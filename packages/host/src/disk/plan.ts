import type { Needed } from "../sandbox/holdings.ts";
import { MAX_VARIANTS } from "../sandbox/variants.ts";
import type { Cached, CachedArtifact, CachedRootfs, CachedSnapshot, Caches } from "./caches.ts";

export interface Policy {
  /** Builds of each template's name that are kept beside the present one, the last ones used. */
  keep: number;
  /** What was used less than this long ago is kept, in milliseconds. @default 0, and 7 days for logs */
  olderThanMs?: number | undefined;
}

export type PartKind = "template" | "snapshot" | "kernel" | "agent" | "image" | "build" | "log" | "leftover";

/** Something that can be removed, and why it is or is not. */
export interface Part {
  kind: PartKind;
  /** For people: a template's name and the beginning of a key. */
  name: string;
  /** Of a thing in a cache. */
  key?: string;
  reason: string;
}

export interface CachePart extends Part {
  kind: "template" | "snapshot" | "kernel" | "agent";
  key: string;
}

export interface CachePlan {
  kept: CachePart[];
  /** What refers before what it refers to: wherever a removal is cut off, nothing is left without what it needs. */
  removed: CachePart[];
}

/** Name of something in a cache: what it was built for, and the beginning of its key. */
export const partName = (template: string | undefined, key: string): string =>
  `${template ?? ""}@${key.slice(0, 12)}`;

/** The name that a rootfs was built for. */
export const builtFor = ({ record }: CachedRootfs): string | undefined =>
  typeof record?.spec.name === "string" ? record.spec.name : undefined;

/** Tells what of the caches is kept and what is removed. Looks at nothing but its arguments. */
export function planCaches(caches: Caches, needed: Needed, policy: Policy, now: number): CachePlan {
  const planner = new Planner(caches, needed, policy, now);
  return planner.plan();
}

/** Which reason there is to keep something, by key. */
type Reasons = Map<string, string>;

class Planner {
  readonly #caches: Caches;
  readonly #policy: Policy;
  readonly #now: number;
  /** Folders below KILN_HOME in use, and by whom. */
  readonly #users = new Map<string, string>();

  constructor(caches: Caches, { bySandboxes, byProcesses }: Needed, policy: Policy, now: number) {
    this.#caches = caches;
    this.#policy = policy;
    this.#now = now;
    for (const name of byProcesses) this.#users.set(folderOf(name), "a build or another command uses it");
    for (const name of bySandboxes) {
      this.#users.set(folderOf(name), "a sandbox or a template made from one needs it");
    }
  }

  plan(): CachePlan {
    const { rootfs, snapshots, kernels, agents } = this.#caches;
    const keptRootfs = this.#keepRootfs();
    const keptSnapshots = this.#keepSnapshots(keptRootfs);
    const keptKernels = this.#keepArtifacts(kernels, "artifacts/kernel");
    for (const { key, manifest } of snapshots) {
      if (manifest && keptSnapshots.has(key))
        put(keptKernels, manifest.subject.kernel, "a snapshot is of it");
    }
    const keptAgents = this.#keepArtifacts(agents, "artifacts/agent");

    const names = new Map(rootfs.map((entry) => [entry.key, builtFor(entry)]));
    const plan: CachePlan = { kept: [], removed: [] };
    const add = (part: Omit<CachePart, "reason">, kept: Reasons, otherwise: string) => {
      const reason = kept.get(part.key);
      if (reason === undefined) plan.removed.push({ ...part, reason: otherwise });
      else plan.kept.push({ ...part, reason });
    };
    for (const snapshot of snapshots) {
      const { key, manifest } = snapshot;
      const name = partName(manifest && names.get(manifest.subject.rootfs), key);
      add({ kind: "snapshot", name, key }, keptSnapshots, whyNotSnapshot(snapshot, keptRootfs));
    }
    for (const entry of this.#childrenFirst()) {
      const name = partName(builtFor(entry), entry.key);
      add({ kind: "template", name, key: entry.key }, keptRootfs, whyNotRootfs(entry));
    }
    for (const { key } of kernels)
      add({ kind: "kernel", name: partName("kernel", key), key }, keptKernels, OTHER_SOURCES);
    for (const { key } of agents)
      add({ kind: "agent", name: partName("agent", key), key }, keptAgents, OTHER_SOURCES);
    return plan;
  }

  /** What holds for everything: it is in use, still arriving, or was used not long ago. */
  #keepAnyway(folder: string, { usedMs, isArriving }: Cached): string | undefined {
    const user = this.#users.get(folder);
    if (user !== undefined) return user;
    if (isArriving) return "it is still arriving from the store";
    if (this.#now - usedMs < (this.#policy.olderThanMs ?? 0)) return "it was used not long ago";
    return undefined;
  }

  #keepRootfs(): Reasons {
    const { templates, rootfs, snapshots } = this.#caches;
    const kept: Reasons = new Map();
    for (const entry of rootfs) put(kept, entry.key, this.#keepAnyway(`rootfs/${entry.key}`, entry));
    for (const { key, manifest } of snapshots) {
      if (manifest) put(kept, manifest.subject.rootfs, this.#users.get(`snapshots/${key}`));
    }
    const unknown = new Set(
      templates.filter((template) => template.rootfs === undefined).map(({ name }) => name),
    );
    for (const template of templates)
      if (template.rootfs) put(kept, template.rootfs, `it is ${template.name}`);
    for (const entry of rootfs) {
      const name = builtFor(entry);
      if (name !== undefined && unknown.has(name)) put(kept, entry.key, `what ${name} is now is not known`);
    }
    this.#keepLast(rootfs, kept);
    const byKey = new Map(rootfs.map((entry) => [entry.key, entry]));
    for (const key of [...kept.keys()]) {
      for (let at = byKey.get(key); at?.record?.parent; at = byKey.get(at.record.parent)) {
        put(kept, at.record.parent, `${partName(builtFor(at), at.key)} is a layer on it`);
      }
    }
    return kept;
  }

  /** Keeps the last builds of each name beside those that are kept anyway. */
  #keepLast(rootfs: readonly CachedRootfs[], kept: Reasons): void {
    const { keep } = this.#policy;
    const older = rootfs.filter(({ key, record }) => record !== undefined && !kept.has(key));
    for (const [name, builds] of Map.groupBy(older, builtFor)) {
      for (const { key } of lastUsedFirst(builds).slice(0, keep)) {
        put(kept, key, `it is one of the last ${keep} builds of ${name ?? "its name"}`);
      }
    }
  }

  #keepSnapshots(keptRootfs: Reasons): Reasons {
    const { templates, snapshots } = this.#caches;
    const kept: Reasons = new Map();
    const own = new Map(templates.map(({ name, snapshot }) => [snapshot, name]));
    const usable: CachedSnapshot[] = [];
    for (const snapshot of snapshots) {
      const { key, manifest, isOutdated } = snapshot;
      put(kept, key, this.#users.get(`snapshots/${key}`));
      if (!manifest || !keptRootfs.has(manifest.subject.rootfs)) continue;
      const template = own.get(key);
      put(kept, key, template && `it is ${template}`);
      put(kept, key, this.#keepAnyway(`snapshots/${key}`, snapshot));
      if (!isOutdated && !kept.has(key)) usable.push(snapshot);
    }
    for (const variants of Map.groupBy(usable, ({ manifest }) => manifest?.subject.rootfs).values()) {
      for (const { key } of lastUsedFirst(variants).slice(0, MAX_VARIANTS)) {
        put(kept, key, "it is one of the last sizes that were used");
      }
    }
    return kept;
  }

  #keepArtifacts(artifacts: readonly CachedArtifact[], folder: string): Reasons {
    const kept: Reasons = new Map();
    for (const artifact of artifacts) {
      put(kept, artifact.key, artifact.isPresent ? "it is the present one" : undefined);
      put(kept, artifact.key, this.#keepAnyway(`${folder}/${artifact.key}`, artifact));
    }
    return kept;
  }

  /** The rootfs in an order in which a layer comes before what it lies on. */
  #childrenFirst(): CachedRootfs[] {
    const byKey = new Map(this.#caches.rootfs.map((entry) => [entry.key, entry]));
    const depth = ({ record }: CachedRootfs): number => {
      const parent = byKey.get(record?.parent ?? "");
      return parent === undefined ? 0 : 1 + depth(parent);
    };
    return this.#caches.rootfs.toSorted((a, b) => depth(b) - depth(a));
  }
}

const OTHER_SOURCES = "it was made of other sources";

/** Remembers a reason; the first one counts. */
function put(reasons: Reasons, key: string, reason: string | undefined): void {
  if (reason !== undefined && !reasons.has(key)) reasons.set(key, reason);
}

const lastUsedFirst = <T extends Cached>(things: readonly T[]): T[] =>
  things.toSorted((a, b) => b.usedMs - a.usedMs || (a.key < b.key ? -1 : 1));

/** The folder of a cache that a name below KILN_HOME is in: `rootfs/KEY`, `artifacts/kernel/KEY`. */
function folderOf(name: string): string {
  const parts = name.split("/");
  return parts.slice(0, parts[0] === "artifacts" ? 3 : 2).join("/");
}

function whyNotRootfs(entry: CachedRootfs): string {
  const name = builtFor(entry);
  return name === undefined
    ? "this version of Kiln cannot use it"
    : `no template named ${name} is this one any more`;
}

function whyNotSnapshot({ manifest, isOutdated }: CachedSnapshot, keptRootfs: Reasons): string {
  if (!manifest) return "it cannot be used";
  if (!keptRootfs.has(manifest.subject.rootfs)) return "what it was made from is not kept";
  return isOutdated ? "it is of another kernel or QEMU" : "other sizes were used since";
}
