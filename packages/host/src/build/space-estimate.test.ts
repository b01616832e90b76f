import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTemplateSpec } from "../template/parse-spec.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { estimateSpace, totalMib } from "./space-estimate.ts";

const spec = (change: object): TemplateSpec => parseTemplateSpec({ name: "some", ...change });
const parent = spec({ apt_packages: ["git", "curl"], tools: ["uv"] });
const child: TemplateSpec = { ...spec({ setup_commands: ["true"] }), parent };
const built = { hasShared: true, unbuilt: [], belowMib: undefined, memoryMib: 512 };

test("what is built takes nothing but its snapshot", () => {
  assert.deepEqual(estimateSpace(built), { shared: 0, image: 0, rootfs: 0, snapshot: 576 });
});

test("each package, tool and command counts in the image and in the rootfs, the largest step thrice in the image", () => {
  const one = estimateSpace({ ...built, unbuilt: [parent] });
  assert.deepEqual([one.image, one.rootfs], [640 + 2 * 384, 896]);
  const more = estimateSpace({ ...built, unbuilt: [{ ...parent, setup_commands: ["true"] }] });
  assert.deepEqual([more.image - one.image, more.rootfs - one.rootfs], [64, 64]);
});

test("a child is a layer on its parent, and has all of it once more with a disk of another size", () => {
  const below = { ...built, belowMib: 400 };
  assert.equal(estimateSpace({ ...below, unbuilt: [child] }).rootfs, 64);
  assert.equal(estimateSpace({ ...below, unbuilt: [{ ...child, disk_mib: 1024 }] }).rootfs, 464);
});

test("a rootfs is never larger than its disk", () => {
  assert.equal(estimateSpace({ ...built, unbuilt: [{ ...parent, disk_mib: 512 }] }).rootfs, 512);
});

test("the first build of a home makes what all share", () => {
  const [first, later] = [false, true].map((hasShared) => totalMib(estimateSpace({ ...built, hasShared })));
  assert.ok((first ?? 0) > (later ?? 0) + 1024);
});
