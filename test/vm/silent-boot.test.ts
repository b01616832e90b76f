import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { DiskService } from "@kiln/host/block/disk-service.ts";
import { openOwnedFolder } from "@kiln/host/os/owned-folder.ts";
import { ownProcessId } from "@kiln/host/os/process-id.ts";
import type { ProgressEvent } from "@kiln/host/progress.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { ensureSnapshot } from "@kiln/host/snapshot/make.ts";
import { snapshotKey } from "@kiln/host/snapshot/manifest.ts";
import type { Vmm } from "@kiln/host/vmm/vmm.ts";
import { openTestHome } from "../support/home.ts";

/** More than any boot takes here. */
const BOOT_TIMEOUT_MS = 60_000;
/** A size that no other test has. */
const MEMORY_MIB = 521;

/** The engine, the first of whose guests stand still before they have said anything. */
function silent(vmm: Vmm, times: number): { vmm: Vmm; boots: () => number } {
  let boots = 0;
  const boot: Vmm["boot"] = async (...args) => {
    const vm = await vmm.boot(...args);
    boots += 1;
    if (boots <= times) await vm.pause();
    return vm;
  };
  return { vmm: Object.create(vmm, { boot: { value: boot } }), boots: () => boots };
}

test("a guest that says nothing is booted once more, and that is told", { timeout: 400_000 }, async () => {
  await using home = await openTestHome();
  await using host = await SandboxHost.open(home);
  const { vmm, rootfs, kernel, snapshot } = await host.prepare("python");
  await using folder = await openOwnedFolder(home.runs);
  const directory = folder.path;
  await using disks = new DiskService(join(directory, "block"));
  const subject = { ...snapshot.manifest.subject, memoryMib: MEMORY_MIB };
  await rm(home.snapshot(snapshotKey(subject)), { recursive: true, force: true });
  for (const [times, isMade] of [
    [2, false],
    [1, true],
  ] as const) {
    const told: string[] = [];
    const onProgress = (event: ProgressEvent) => {
      if (event.status === "update") told.push(event.message ?? "");
    };
    const engine = silent(vmm, times);
    const making = ensureSnapshot(
      { home, disks, directory, onProgress },
      {
        subject,
        vmm: engine.vmm,
        rootfs,
        kernel,
        warmup: [],
        bootTimeoutMs: isMade ? BOOT_TIMEOUT_MS : 1_000,
      },
    );
    if (isMade) await making;
    else
      await assert.rejects(making, {
        code: "VM_FAILED",
        message: /did not boot: .*did not answer in 1000 ms/,
      });
    assert.equal(engine.boots(), 2);
    assert.equal(told.filter((message) => /did not answer: it is booted once more/.test(message)).length, 1);
  }
  const left = (await readdir(home.tmp)).filter((name) => name.startsWith(ownProcessId()));
  assert.deepEqual(left, []);
});
