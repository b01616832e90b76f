import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { KilnHome } from "../home.ts";
import {
  encodeManifest,
  findSnapshot,
  type SnapshotSubject,
  snapshotKey,
  snapshotPaths,
} from "./manifest.ts";

const SUBJECT: SnapshotSubject = {
  rootfs: "r",
  kernel: "k",
  vcpu: 2,
  memoryMib: 512,
  warmup: "w",
  vmm: { engine: "qemu", version: "7.2", accelerator: "tcg", cpu: "max" },
};

test("the key changes with everything that shaped the snapshot, and not with the order it is written in", () => {
  const changed: SnapshotSubject[] = [
    { ...SUBJECT, rootfs: "x" },
    { ...SUBJECT, kernel: "x" },
    { ...SUBJECT, vcpu: 1 },
    { ...SUBJECT, memoryMib: 256 },
    { ...SUBJECT, warmup: "x" },
    ...Object.keys(SUBJECT.vmm).map((name) => ({ ...SUBJECT, vmm: { ...SUBJECT.vmm, [name]: "x" } })),
  ];
  assert.equal(new Set([SUBJECT, ...changed].map(snapshotKey)).size, changed.length + 1);
  const reordered = Object.fromEntries(Object.entries(SUBJECT).reverse()) as SnapshotSubject;
  assert.equal(snapshotKey(reordered), snapshotKey(SUBJECT));
});

test("a snapshot is found whole or not at all", async () => {
  const root = await mkdtemp(join(tmpdir(), "kiln-snapshot-"));
  try {
    const home = new KilnHome(root);
    const { files, manifest } = snapshotPaths(home.snapshot(snapshotKey(SUBJECT)));
    assert.equal(findSnapshot(home, SUBJECT), undefined);
    await mkdir(dirname(manifest), { recursive: true });
    await writeFile(manifest, encodeManifest(SUBJECT, 1, 100));
    assert.equal(findSnapshot(home, SUBJECT), undefined, "without memory and state");
    await writeFile(files.state, "state");
    await writeFile(files.memory, "");
    await truncate(files.memory, 512 * 1024 * 1024);
    assert.equal(findSnapshot(home, SUBJECT)?.manifest.generation, 1);
    await truncate(files.memory, 512 * 1024 * 1024 - 4_096);
    assert.equal(findSnapshot(home, SUBJECT), undefined, "with memory cut short");
    await truncate(files.memory, 512 * 1024 * 1024);
    await writeFile(files.state, "");
    assert.equal(findSnapshot(home, SUBJECT), undefined, "with an empty state");
    await writeFile(files.state, "state");
    for (const text of ["", "{", "{}", encodeManifest({ ...SUBJECT, vcpu: 1 }, 1, 100)]) {
      await writeFile(manifest, text);
      assert.equal(findSnapshot(home, SUBJECT), undefined, `with the manifest ${text.slice(0, 20)}`);
    }
  } finally {
    await rm(root, { recursive: true });
  }
});
