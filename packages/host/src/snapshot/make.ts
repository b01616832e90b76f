import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { DiskService } from "../block/disk-service.ts";
import { publishFolder } from "../build/artifact-cache.ts";
import { KilnError } from "../errors.ts";
import { GuestAgent } from "../guest/agent.ts";
import { makeIdentity } from "../guest/identity.ts";
import type { KilnHome } from "../home.ts";
import { lockFile } from "../os/file-lock.ts";
import { type OwnedFolder, openOwnedFolder } from "../os/owned-folder.ts";
import { type OnProgress, runStage } from "../progress.ts";
import type { Vm, Vmm } from "../vmm/vmm.ts";
import {
  encodeManifest,
  findSnapshot,
  type Snapshot,
  type SnapshotSubject,
  snapshotKey,
  snapshotPaths,
} from "./manifest.ts";
import { warmUp } from "./warm-up.ts";

/** How long a guest may take to boot, in milliseconds. Software emulation on a busy host needs several seconds. */
const BOOT_TIMEOUT_MS = 120_000;
/** Boots of one snapshot: a guest that says nothing is booted once more. Seen on either engine, seldom, and not understood. */
const BOOTS = 2;
/** How long an engine may take to tell what a guest is at, in milliseconds. */
const DESCRIPTION_PATIENCE_MS = 10_000;
const MAX_DESCRIPTION_CHARACTERS = 32_000;
const FIRST_GENERATION = 1;
/** A lock that is free is had in a few milliseconds. */
const WAITING_NOTICE_MS = 500;

export interface SnapshotRequest {
  subject: SnapshotSubject;
  vmm: Vmm;
  rootfs: { path: string; layers: readonly string[]; sizeBytes: number };
  kernel: { vmlinuz: string; initrd: string };
  /** Shell commands run before the snapshot: what they touch is in memory in every sandbox. A failing one fails. */
  warmup: readonly string[];
  /** How long the guest may take to boot, in milliseconds. @default two minutes */
  bootTimeoutMs?: number;
}

export interface SnapshotContext {
  home: KilnHome;
  disks: DiskService;
  /** Folder for sockets; short. */
  directory: string;
  onProgress?: OnProgress | undefined;
  signal?: AbortSignal | undefined;
}

/** The snapshot of `request`, made if there is none. Two callers at once make it once. */
export async function ensureSnapshot(context: SnapshotContext, request: SnapshotRequest): Promise<Snapshot> {
  const found = findSnapshot(context.home, request.subject);
  if (found) return found;
  const key = snapshotKey(request.subject);
  return runStage(context.onProgress, "snapshot", async (update) => {
    const notice = setTimeout(() => update("waiting for another process that makes it"), WAITING_NOTICE_MS);
    const locking = lockFile(context.home.lock(`snapshot-${key}`), context.signal);
    await using _lock = await locking.finally(() => clearTimeout(notice));
    const made = findSnapshot(context.home, request.subject);
    if (made) return made;
    for (let boots = 1; boots <= BOOTS; boots++) {
      await using scratch = await openOwnedFolder(context.home.tmp);
      try {
        await make(context, request, scratch, update);
        await publishFolder(scratch.path, context.home.snapshot(key));
        break;
      } catch (error) {
        if (!isSilence(error) || boots === BOOTS) throw error;
        const report = context.home.log(`boot-${key.slice(0, 16)}`);
        await mkdir(dirname(report), { recursive: true, mode: 0o700 });
        await writeFile(report, `${[error.message, error.hint, error.details?.state].flat().join("\n")}\n`);
        update(`the guest did not answer: it is booted once more; what it was at is in ${report}`);
      }
    }
    const snapshot = findSnapshot(context.home, request.subject);
    if (!snapshot) throw new KilnError("INTERNAL", `the snapshot just made is not valid: ${key}`);
    return snapshot;
  });
}

/** Whether a boot failed because nothing answered in time: that is the error, or what `bootOrExplain` explains. */
const isSilence = (error: unknown): error is KilnError =>
  error instanceof KilnError && (error.code === "TIMEOUT" || isSilence(error.cause));

/** Boots the rootfs, warms it up and leaves memory, state, disk layer and manifest in the scratch folder. */
async function make(
  { disks, directory, signal }: SnapshotContext,
  { vmm, rootfs, kernel, subject, warmup, bootTimeoutMs = BOOT_TIMEOUT_MS }: SnapshotRequest,
  scratch: OwnedFolder,
  update: (message: string) => void,
): Promise<void> {
  const { files, diskLayer, manifest } = snapshotPaths(scratch.path);
  const folder = await mkdtemp(join(directory, "boot-"));
  const disk = await disks.add({
    id: `boot-${snapshotKey(subject)}`,
    base: rootfs.path,
    layers: rootfs.layers,
    diff: diskLayer,
    sizeBytes: rootfs.sizeBytes,
    durability: "process",
  });
  let sealed = false;
  try {
    const started = performance.now();
    update("booting");
    const { vcpu, memoryMib } = subject;
    await using vm = await vmm.boot(
      { directory: folder, vcpu, memoryMib, kernel, disk: disk.nbd },
      files,
      signal,
    );
    const agent = new GuestAgent(vm.agent);
    const identity = makeIdentity("template");
    const handshake = { generation: FIRST_GENERATION, identity, timeoutMs: bootTimeoutMs };
    await bootOrExplain(vm, folder, agent.handshake({ ...handshake, ...(signal ? { signal } : {}) }));
    const bootMs = performance.now() - started;
    await warmUp(agent, warmup, update, signal);
    update("writing memory");
    await agent.freeze();
    await vm.pause();
    await vm.snapshot();
    agent.close();
    await vm.stop();
    await disk.seal();
    sealed = true;
    await writeFile(manifest, encodeManifest(subject, FIRST_GENERATION, bootMs));
  } finally {
    if (!sealed) await disk.discard();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits for the first handshake; when the VM ends instead, says what its console said. */
async function bootOrExplain(vm: Vm, directory: string, handshake: Promise<unknown>): Promise<void> {
  try {
    await handshake;
  } catch (error) {
    if (error instanceof KilnError && error.code === "CANCELLED") throw error;
    const state = isSilence(error) ? await describe(vm) : undefined;
    await vm.stop();
    const { reason, expected } = await vm.exited;
    const lines = (await readFile(join(directory, "console.log"), "utf8").catch(() => "")).trim().split("\n");
    const consoleTail = lines.slice(-20);
    const why = expected ? (error instanceof Error ? error.message : String(error)) : reason;
    throw new KilnError("VM_FAILED", `the guest did not boot: ${why}`, {
      cause: error,
      hint:
        consoleTail.join("") === ""
          ? "its console is empty"
          : `its console ended with:\n${consoleTail.join("\n")}`,
      details: { console: consoleTail, ...(state === undefined ? {} : { state }) },
    });
  }
}

/** What the engine tells of a guest that says nothing, a line each. */
async function describe(vm: Vm): Promise<string[]> {
  const late = new AbortController();
  const nothing = delay(DESCRIPTION_PATIENCE_MS, "its engine did not answer", { signal: late.signal });
  nothing.catch(() => undefined);
  const text = await Promise.race([vm.describe().catch(String), nothing]);
  late.abort();
  return text.slice(0, MAX_DESCRIPTION_CHARACTERS).split("\n");
}
