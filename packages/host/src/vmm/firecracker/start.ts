import { readFile } from "node:fs/promises";
import { KilnError } from "../../errors.ts";
import { connectWhenListening } from "../connect.ts";
import { type Jail, lockUp, prepareJail, takeBack, uidOf, VM_FOLDER } from "../jail/jail.ts";
import type { Launcher } from "../jail/launcher.ts";
import { Access, openTo } from "../jail/open-to.ts";
import { VmmChild } from "../process.ts";
import { StartSteps } from "../start-steps.ts";
import type { SnapshotFiles, VmConfig } from "../vmm.ts";
import { AgentWire } from "./agent-wire.ts";
import { FirecrackerApi } from "./api.ts";
import { bootRequests, restoreRequest } from "./configuration.ts";
import { folderEnvironment } from "./find.ts";
import { ensureVmlinux } from "./kernel-image.ts";
import type { NbdSlots } from "./nbd/slots.ts";
import type { FirecrackerProbe } from "./probe.ts";
import type { Taps } from "./tap/taps.ts";
import { PATHS, pathsIn, type Sources, visibleTo } from "./view.ts";
import { AGENT_PATIENCE_MS, FirecrackerVm } from "./vm.ts";
import { connectAgent } from "./vsock.ts";

/** How long Firecracker may take to open its API and load a state, in milliseconds. */
const API_PATIENCE_MS = 60_000;
/** How long a guest may take to boot, in milliseconds: a second, but minutes where KVM itself runs on an emulated processor. */
const BOOT_PATIENCE_MS = 300_000;
/**
 * Memory of Firecracker's own and of the kernel for it, in MiB. It takes 5; what it writes while it saves a VM is in the kernel's cache for a
 * moment, and counts.
 */
const OVERHEAD_MIB = 256;
/** Lines of a console that are told. */
const CONSOLE_LINES = 20;

export type StartMode = "boot" | "restore";

/** Starts a Firecracker that boots, or goes on from `files`, locked up, with its disk on an NBD device and its link on a tap of its own. */
export async function startFirecracker(
  { probe, slots, taps }: { probe: FirecrackerProbe; slots: NbdSlots; taps: Taps },
  config: VmConfig,
  files: SnapshotFiles,
  mode: StartMode,
  signal?: AbortSignal,
): Promise<FirecrackerVm> {
  const { directory, disk } = config;
  const { binary } = probe.subject;
  const uid = uidOf(directory);
  await using unused = new AsyncDisposableStack();
  const slot = await slots.attach(directory, disk, uid);
  unused.defer(() => slots.detach(slot));
  const tap = await taps.take(directory, uid, { isNew: files.onDemand });
  unused.defer(() => tap.stop());
  const sources = await sourcesOf(config, files, mode);
  const jail = await prepareJail(directory, probe.isolation, visibleTo(binary, slot.node, sources));
  const child = await launch(tap.launcher, jail, config, mode);
  const steps = new StartSteps("Firecracker", child.gone, signal);
  try {
    const paths = pathsIn(directory);
    const until = steps.within(API_PATIENCE_MS);
    const api = new FirecrackerApi(
      await steps.wait("its API's socket", connectWhenListening(paths.apiSocket, until)),
    );
    await api.during(until, async () => {
      const requests = mode === "boot" ? bootRequests(config, PATHS) : [restoreRequest(PATHS)];
      for (const { path, body } of requests) await steps.wait(path, api.put(path, body));
      await Promise.all([takeBack(jail), steps.wait("its control group", child.confined)]);
      // Nothing of the guest runs before.
      if (mode === "boot") await steps.wait("start", api.put("/actions", { action_type: "InstanceStart" }));
      else await steps.wait("start", api.patch("/vm", { state: "Resumed" }));
    });
    // It has the device open from here on, and lets go of it however it ends.
    const patience = steps.within(mode === "boot" ? BOOT_PATIENCE_MS : AGENT_PATIENCE_MS);
    const [socket] = await Promise.all([
      steps.wait("the guest's agent", connectAgent(paths.vsock, patience)),
      slots.bindToUser(slot),
    ]);
    unused.move();
    return new FirecrackerVm({
      ...{ process: child, api, agent: new AgentWire(socket), config, uid, slot, slots },
      ...(mode === "boot" ? { template: files } : {}),
    });
  } catch (error) {
    await child.stop();
    const failure = steps.failure(error, await child.exited);
    throw mode === "boot" ? await withConsole(failure, directory) : failure;
  }
}

/** The files that it starts from, which its own user can read. */
async function sourcesOf({ kernel }: VmConfig, files: SnapshotFiles, mode: StartMode): Promise<Sources> {
  const sources: Sources =
    mode === "boot" ? { vmlinux: await ensureVmlinux(kernel.vmlinuz), initrd: kernel.initrd } : files;
  const paths = "vmlinux" in sources ? [sources.vmlinux, sources.initrd] : [sources.memory, sources.state];
  await Promise.all(paths.map((path) => openTo(path, Access.read)));
  return sources;
}

async function launch(
  launcher: Launcher,
  jail: Jail,
  { directory, detached, vcpu, memoryMib }: VmConfig,
  mode: StartMode,
): Promise<VmmChild> {
  const paths = pathsIn(directory);
  const args = ["--api-sock", PATHS.apiSocket, "--log-path", pathsIn(VM_FOLDER).log, "--level", "Error"];
  return await VmmChild.start(launcher, [PATHS.binary, args], {
    program: "Firecracker",
    jail: lockUp(jail, { memoryMib, writesFiles: mode === "boot" }),
    detached,
    // Both Firecracker and what becomes it write to it.
    log: paths.log,
    output: mode === "boot" ? paths.console : undefined,
    env: folderEnvironment(directory),
    cgroup: { directory, vcpu, memoryMib: memoryMib + OVERHEAD_MIB },
  });
}

/** A failed boot with the end of what the guest's console said. */
async function withConsole(failure: unknown, directory: string): Promise<unknown> {
  if (!(failure instanceof KilnError) || failure.code === "CANCELLED") return failure;
  const text = (await readFile(pathsIn(directory).console, "utf8").catch(() => "")).trim();
  const console = text.split("\n").slice(-CONSOLE_LINES);
  return new KilnError(failure.code, failure.message, {
    cause: failure,
    hint:
      text === "" ? "the guest's console is empty" : `the guest's console ended with:\n${console.join("\n")}`,
    details: { console },
  });
}
