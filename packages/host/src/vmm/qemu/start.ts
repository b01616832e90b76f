import { open } from "node:fs/promises";
import { KilnError } from "../../errors.ts";
import { findCommand } from "../../os/find-command.ts";
import { connectWhenListening } from "../connect.ts";
import type { SnapshotFiles, VmConfig, VmExit } from "../vmm.ts";
import { nameArguments, qemuArguments } from "./arguments.ts";
import { enterJail, prepareJail, takeBack } from "./jail.ts";
import { awaitLink } from "./link.ts";
import { keepFrom, letUse } from "./permissions.ts";
import type { QemuProbe } from "./probe.ts";
import { QemuChild } from "./process.ts";
import { QmpClient } from "./qmp.ts";
import { withSmallPages } from "./small-pages.ts";
import { type StartMode, viewOf } from "./view.ts";
import { QemuVm, vmPaths } from "./vm.ts";

/** How long QEMU may take to open its control socket and load a device state, in milliseconds. */
const QEMU_PATIENCE_MS = 30_000;

const CAPABILITIES = [
  { capability: "x-ignore-shared", state: true },
  { capability: "events", state: true },
];

const completed = (data: Record<string, unknown>) => data.status === "completed" || data.status === "failed";

/** Starts a QEMU that boots, or goes on from `files`, locked up as well as this host allows. */
export async function startQemu(
  probe: QemuProbe,
  config: VmConfig,
  files: SnapshotFiles,
  mode: StartMode,
  signal?: AbortSignal,
): Promise<QemuVm> {
  const { directory } = config;
  const paths = vmPaths(directory);
  const view = viewOf(probe, config, files, mode);
  const jail = await prepareJail(directory, probe.isolation, view.visible);
  await letUse(jail, view, config, files, mode);
  await using state = mode === "restore" ? await open(files.state, "r") : undefined;
  const args = [
    ...nameArguments(directory),
    ...qemuArguments(view.config, probe.accelerator, view.memory, view.paths),
    // Nothing of the guest runs before this process has said so.
    ...(state ? ["-incoming", "defer"] : ["-S"]),
  ];
  const child = await QemuChild.start(
    enterJail(jail, ...(await commandOf(probe, files, args)), {
      diesWithOwner: !config.detached,
      memoryMib: config.memoryMib,
      writesFiles: mode === "boot",
    }),
    { incoming: state?.fd, detachedLog: config.detached ? paths.log : undefined },
  );
  const awaited = new Set<string>();
  const wait = async <T>(what: string, work: Promise<T>): Promise<T> => {
    awaited.add(what);
    const result = await work; // What fails is still awaited when the error is described.
    awaited.delete(what);
    return result;
  };
  const patience = AbortSignal.timeout(QEMU_PATIENCE_MS);
  try {
    const until = AbortSignal.any([child.gone, patience, ...(signal ? [signal] : [])]);
    const qmp = new QmpClient(await wait("control socket", connectWhenListening(paths.qmpSocket, until)));
    // QEMU answers in order: nothing is gained by waiting for one answer before the next command.
    const [agent] = await Promise.all([
      wait("agent's socket", connectWhenListening(paths.agentSocket, until)),
      // Whoever answers here has made all its sockets but the link's, which comes in its own time.
      wait("first answer", qmp.execute("qmp_capabilities"))
        .then(() => wait("link", awaitLink(qmp, paths.networkSocket, until)))
        .then(() => takeBack(jail)),
      qmp.execute("migrate-set-capabilities", { capabilities: CAPABILITIES }),
      ...(mode === "restore" ? [wait("device state", loadState(qmp))] : []),
    ]);
    await wait("start", qmp.execute("cont"));
    const template =
      mode === "boot" ? { state: files.state, finish: () => keepFrom(files.memory) } : undefined;
    return new QemuVm({
      ...{ process: child, qmp, agent, config, seenAs: view.config.directory },
      ...(template ? { template } : {}),
    });
  } catch (error) {
    await child.stop();
    throw describe(error, await child.exited, {
      isCancelled: signal?.aborted ?? false,
      isLate: patience.aborted,
      awaited: [...awaited].join(", "),
    });
  }
}

async function commandOf(
  { subject }: QemuProbe,
  files: SnapshotFiles,
  args: readonly string[],
): Promise<[string, string[]]> {
  if (!files.onDemand) return [subject.binary, [...args]];
  return withSmallPages(findCommand("perl"), subject.binary, args);
}

async function loadState(qmp: QmpClient): Promise<void> {
  const loaded = qmp.waitFor("MIGRATION", completed);
  const [data] = await Promise.all([loaded, qmp.execute("migrate-incoming", { uri: "fd:3" })]);
  if (data.status !== "completed")
    throw new KilnError("VM_FAILED", "QEMU could not load the snapshot's device state");
}

/** A failed start as one error that says most: why QEMU ended, rather than which connection it took along. */
function describe(
  cause: unknown,
  exit: VmExit,
  { isCancelled, isLate, awaited }: { isCancelled: boolean; isLate: boolean; awaited: string },
): KilnError {
  if (isCancelled) return new KilnError("CANCELLED", "cancelled while starting a VM", { cause });
  if (!exit.expected) return new KilnError("VM_FAILED", `the VM did not start: ${exit.reason}`, { cause });
  if (cause instanceof KilnError) return cause;
  if (!isLate) {
    const reason = `${awaited}: ${cause instanceof Error ? cause.message : cause}`;
    return new KilnError("VM_FAILED", `the VM did not start: ${reason}`, { cause });
  }
  return new KilnError("TIMEOUT", `the VM did not start: QEMU did not answer in time (${awaited})`, {
    cause,
    hint: "is the machine overloaded? try again",
  });
}
