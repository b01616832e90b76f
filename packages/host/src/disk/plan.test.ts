import assert from "node:assert/strict";
import { test } from "node:test";
import type { StoredImage } from "../build/stored-images.ts";
import type { CachedRootfs, CachedSnapshot, Caches } from "./caches.ts";
import { planImages } from "./images.ts";
import { planCaches } from "./plan.ts";

const NOW = 1_000_000_000;
const HOUR = 3_600_000;
const NOBODY = { bySandboxes: new Set<string>(), byProcesses: new Set<string>() };

const rootfs = (key: string, name: string, hours: number, parent: string | null = null) =>
  ({
    key,
    usedMs: NOW - hours * HOUR,
    isArriving: false,
    record: { parent, spec: { name } },
  }) as unknown as CachedRootfs;

const snapshot = (key: string, of: string, hours: number, isOutdated = false) =>
  ({
    key,
    usedMs: NOW - hours * HOUR,
    isArriving: false,
    isOutdated,
    manifest: { subject: { rootfs: of, kernel: "kernel" } },
  }) as CachedSnapshot;

const artifact = (key: string, isPresent: boolean) => ({ key, usedMs: 0, isArriving: false, isPresent });

const caches: Caches = {
  templates: [
    { name: "web", rootfs: "web-3", snapshot: "own", images: ["base:web"] },
    { name: "broken", rootfs: undefined, snapshot: undefined, images: [] },
  ],
  rootfs: [
    rootfs("parent", "old-parent", 50),
    rootfs("web-1", "web", 30),
    rootfs("web-2", "web", 20, "parent"),
    rootfs("web-3", "web", 10),
    rootfs("lost", "broken", 40),
    { ...rootfs("foreign", "", 5), record: undefined },
  ],
  snapshots: [
    snapshot("own", "web-3", 10),
    ...[1, 2, 3, 4, 5].map((hours) => snapshot(`size-${hours}`, "web-3", hours)),
    snapshot("outdated", "web-3", 1, true),
    snapshot("of-2", "web-2", 20),
  ],
  kernels: [artifact("kernel", false), artifact("new", true), artifact("older", false)],
  agents: [artifact("now", true), artifact("then", false)],
};

const removed = (...[needed, policy]: [typeof NOBODY, { keep: number; olderThanMs?: number }]) =>
  planCaches(caches, needed, policy, NOW).removed.map(({ key }) => key);

test("what has a name is kept with what it needs, what has none goes, what refers first", () => {
  assert.deepEqual(removed(NOBODY, { keep: 0 }), [
    ...["size-5", "outdated", "of-2"],
    ...["web-2", "parent", "web-1", "foreign"],
    ...["older", "then"],
  ]);
});

test("so many older builds are kept as are asked for, with what they are layers on", () => {
  assert.deepEqual(removed(NOBODY, { keep: 1 }), ["size-5", "outdated", "web-1", "foreign", "older", "then"]);
});

test("what was used not long ago is kept", () => {
  const left = removed(NOBODY, { keep: 0, olderThanMs: 25 * HOUR });
  assert.deepEqual(left, ["web-1", "older", "then"]);
});

test("what is in use is kept, with what it needs, and so is what is arriving", () => {
  const bySandboxes = new Set(["snapshots/of-2/disk", "artifacts/kernel/older/vmlinuz"]);
  const byProcesses = new Set(["rootfs/web-1", "artifacts/agent/then"]);
  assert.deepEqual(removed({ bySandboxes, byProcesses }, { keep: 0 }), ["size-5", "outdated", "foreign"]);
  const arriving = { ...caches, rootfs: caches.rootfs.map((entry) => ({ ...entry, isArriving: true })) };
  const plan = planCaches(arriving, NOBODY, { keep: 0 }, NOW);
  assert.deepEqual(
    plan.removed.filter(({ kind }) => kind === "template"),
    [],
  );
});

test("images that builds start from are kept with the steps below them; the others go, the topmost first", () => {
  const image = (id: string, parent: string | undefined, ...names: string[]): StoredImage => ({
    id,
    parent,
    names,
    ownBytes: 1,
    createdMs: 0,
  });
  const images = [
    image("debian", undefined, "docker.io/library/debian:bookworm-slim"),
    image("step", "debian"),
    image("web", "step", "base:web"),
    image("old-step", "debian"),
    image("old", "old-step", `localhost/kiln:${"a".repeat(32)}`),
    image("other", undefined, "somebody/else:1"),
    image("kept", "step", `localhost/kiln:${"b".repeat(32)}`),
  ];
  const plan = planImages(images, caches.templates, ["b".repeat(64)], { keep: 0 }, NOW);
  assert.deepEqual(
    plan.removed.map(({ id }) => id),
    ["old", "old-step", "other"],
  );
  assert.deepEqual(plan.kept.map(({ id }) => id).sort(), ["debian", "kept", "step", "web"]);
});
