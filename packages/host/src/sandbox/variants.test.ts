import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { rootfsKey } from "../build/rootfs.ts";
import { KilnHome } from "../home.ts";
import { Uses } from "../os/in-use.ts";
import { snapshotsOf } from "../snapshot/cache.ts";
import { encodeManifest, type SnapshotSubject, snapshotKey, snapshotPaths } from "../snapshot/manifest.ts";
import { resolveTemplate } from "../template/templates.ts";
import { writeSavedTemplate } from "./saved-template.ts";
import { MAX_VARIANTS, markUsed, pruneVariants } from "./variants.ts";

test("the snapshots used longest ago go, but not a template's own, one in use, or one used just now", async () => {
  const root = await mkdtemp(join(tmpdir(), "kiln-variants-"));
  try {
    const home = new KilnHome(root);
    await mkdir(dirname(home.probe("x")), { recursive: true });
    await writeFile(join(root, "config.json"), '{ "sources": "packages" }');
    const spec = await resolveTemplate(home, "python");
    const rootfs = (await rootfsKey(home, spec)) ?? "";
    const subject = (memoryMib: number): SnapshotSubject => ({
      rootfs,
      kernel: "k",
      vcpu: spec.vcpu,
      memoryMib,
      warmup: "w",
      vmm: { engine: "qemu" },
    });
    /** A snapshot that was used `hours` ago. */
    const make = async (memoryMib: number, hours: number) => {
      const key = snapshotKey(subject(memoryMib));
      const { manifest } = snapshotPaths(home.snapshot(key));
      await mkdir(dirname(manifest), { recursive: true });
      await writeFile(manifest, encodeManifest(subject(memoryMib), 1, 1));
      const then = new Date(Date.now() - hours * 3_600_000);
      await utimes(manifest, then, then);
      return key;
    };
    await make(spec.memory_mib, 1000);
    for (let index = 0; index < MAX_VARIANTS; index++) await make(1024 + index, index + 1);
    assert.deepEqual(await pruneVariants(home, rootfs), []);

    const saved = await make(2000, 500);
    await writeSavedTemplate(home, {
      format: 1,
      name: "saved",
      from: "python",
      createdAt: new Date().toISOString(),
      vcpu: 2,
      memoryMib: 2000,
      env: {},
      engine: "qemu",
      kernel: { vmlinuz: "v", initrd: "i" },
      source: { folder: "saved/x", generation: 1 },
      base: "rootfs/x",
      sizeBytes: 1,
      layers: [`snapshots/${saved}/disk`],
    });
    await make(2001, 400);
    const kept = await make(2002, 300);
    await markUsed(home, await make(2003, 200));
    await using uses = new Uses(home);
    await uses.add([home.snapshot(kept)]);
    const removed = await pruneVariants(home, rootfs);
    assert.deepEqual(removed.map(({ subject: { memoryMib } }) => memoryMib).sort(), [
      1024 + MAX_VARIANTS - 1,
      2001,
    ]);
    const left = (await snapshotsOf(home, rootfs)).map(({ subject: { memoryMib } }) => memoryMib);
    assert.deepEqual(left.sort(), [512, 1024, 1025, 1026, 2000, 2002, 2003].sort());
  } finally {
    await rm(root, { recursive: true });
  }
});
