import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { DiskService } from "@kiln/host/block/disk-service.ts";
import type { KilnError } from "@kiln/host/errors.ts";
import { openOwnedFolder } from "@kiln/host/os/owned-folder.ts";
import { ownProcessId } from "@kiln/host/os/process-id.ts";
import type { ProgressEvent } from "@kiln/host/progress.ts";
import { SandboxHost } from "@kiln/host/sandbox/sandbox-host.ts";
import { ensureSnapshot } from "@kiln/host/snapshot/make.ts";
import { snapshotKey } from "@kiln/host/snapshot/manifest.ts";
import type { Vm, Vmm } from "@kiln/host/vmm/vmm.ts";
import { openTestHome } from "../support/home.ts";

/** More than any boot takes here. */
const BOOT_TIMEOUT_MS = 40_000;
/** A size that no other test has. */
const MEMORY_MIB = 521;

/** A VM of which nobody hears anything: it stands still before it has said a word, or it boots and its wire leads nowhere. */
async function silence(vm: Vm, how: "stands still" | "unheard"): Promise<Vm> {
  if (how === "stands still") {
    await vm.pause();
    return vm;
  }
  const nowhere = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  return Object.defineProperty(vm, "agent", { value: nowhere });
}

/** The engine, with the first of whose guests that is done. */
function silent(vmm: Vmm, times: number, how: "stands still" | "unheard"): { vmm: Vmm; boots: () => number } {
  let boots = 0;
  const boot: Vmm["boot"] = async (...args) => {
    const vm = await vmm.boot(...args);
    boots += 1;
    return boots <= times ? await silence(vm, how) : vm;
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
  for (const { times, how, isMade } of [
    { times: 2, how: "stands still", isMade: false },
    { times: 1, how: "unheard", isMade: true },
  ] as const) {
    const told: string[] = [];
    const onProgress = (event: ProgressEvent) => {
      if (event.status === "update") told.push(event.message ?? "");
    };
    const engine = silent(vmm, times, how);
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
      await assert.rejects(making, (error: KilnError) => {
        assert.equal(error.code, "VM_FAILED");
        assert.match(error.message, /did not boot: .*did not answer in 1000 ms/);
        assert.match(`${error.details?.state}`, /thread \d+ .*status: .*paused/i);
        return true;
      });
    assert.equal(engine.boots(), 2);
    const [report, ...others] = told.flatMap(
      (message) => / is booted once more; what it was at is in (.*)$/.exec(message)?.[1] ?? [],
    );
    assert.deepEqual(others, []);
    const text = await readFile(report ?? "", "utf8");
    await rm(report ?? "");
    // How far each came: what its console says, and whether its engine says that it runs.
    const marks = ["kiln: the disk is mounted", "kiln-agent: the host's port is open"];
    if (vmm.engine === "qemu") {
      assert.deepEqual(
        marks.map((mark) => text.includes(mark)),
        how === "unheard" ? [true, true] : [false, false],
      );
      assert.match(text, /\bRIP=|\bEIP=/);
      assert.match(text, /virtio-blk queue 0: \{.*"inuse":0/);
    }
  }
  const left = (await readdir(home.tmp)).filter((name) => name.startsWith(ownProcessId()));
  assert.deepEqual(left, []);
});
