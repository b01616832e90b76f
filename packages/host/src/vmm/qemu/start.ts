import { KilnError } from "../../errors.ts";
import { connectWhenListening } from "../connect.ts";
import { lockUp, OVERHEAD_MIB, prepareJail, takeBack } from "../jail/jail.ts";
import { launchersFor } from "../jail/launchers.ts";
import { VmmChild } from "../process.ts";
import { StartSteps } from "../start-steps.ts";
import type { SnapshotFiles, VmConfig } from "../vmm.ts";
import { nameArguments, qemuArguments } from "./arguments.ts";
import { awaitLink } from "./link.ts";
import { keepFrom, letUse } from "./permissions.ts";
import type { QemuProbe } from "./probe.ts";
import { QmpClient } from "./qmp.ts";
import { type StartMode, viewOf } from "./view.ts";
import { QemuVm, vmPaths } from "./vm.ts";

/** How long QEMU may take to open its control socket and load a device state, in milliseconds. */
const QEMU_PATIENCE_MS = 60_000;

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
  const args = [
    ...nameArguments(directory),
    ...qemuArguments(view.config, probe.accelerator, view.memory, view.paths),
    // Nothing of the guest runs before this process has said so.
    ...(mode === "restore" ? ["-incoming", "defer"] : ["-S"]),
  ];
  const launcher = await launchersFor(probe.isolation).take({ isNew: files.onDemand });
  const child = await VmmChild.start(launcher, [probe.subject.binary, args], {
    program: "QEMU",
    jail: lockUp(jail, { memoryMib: config.memoryMib, writesFiles: mode === "boot" }),
    input: mode === "restore" ? files.state : undefined,
    smallPages: files.onDemand,
    detached: config.detached,
    log: config.detached ? paths.log : undefined,
    cgroup: { directory, vcpu: config.vcpu, memoryMib: config.memoryMib + OVERHEAD_MIB },
  });
  const steps = new StartSteps("QEMU", child.gone, signal);
  try {
    const until = steps.within(QEMU_PATIENCE_MS);
    const qmp = new QmpClient(
      await steps.wait("control socket", connectWhenListening(paths.qmpSocket, until)),
    );
    // Nothing is waited for any longer then.
    const giveUp = () => qmp.close();
    until.addEventListener("abort", giveUp);
    // QEMU answers in order: nothing is gained by waiting for one answer before the next command.
    const answered = steps.wait("first answer", qmp.execute("qmp_capabilities"));
    const [agent] = await Promise.all([
      // Whoever answers has made all its sockets but the link's, which comes in its own time.
      answered.then(() => steps.wait("agent's socket", connectWhenListening(paths.agentSocket, until))),
      answered
        .then(() => steps.wait("link", awaitLink(qmp, paths.networkSocket, until)))
        .then(() => takeBack(jail)),
      steps.wait("control group", child.confined),
      qmp.execute("migrate-set-capabilities", { capabilities: CAPABILITIES }),
      ...(mode === "restore" ? [steps.wait("device state", loadState(qmp))] : []),
    ]);
    await steps.wait("start", qmp.execute("cont"));
    until.removeEventListener("abort", giveUp);
    const template =
      mode === "boot" ? { state: files.state, finish: () => keepFrom(files.memory) } : undefined;
    return new QemuVm({
      ...{ process: child, qmp, agent, config, seenAs: view.config.directory },
      ...(template ? { template } : {}),
    });
  } catch (error) {
    await child.stop();
    throw steps.failure(error, await child.exited);
  }
}

async function loadState(qmp: QmpClient): Promise<void> {
  const loaded = qmp.waitFor("MIGRATION", completed);
  const [data] = await Promise.all([loaded, qmp.execute("migrate-incoming", { uri: "fd:3" })]);
  if (data.status !== "completed")
    throw new KilnError("VM_FAILED", "QEMU could not load the snapshot's device state");
}
