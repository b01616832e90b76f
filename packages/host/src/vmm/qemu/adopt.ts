import { readFile } from "node:fs/promises";
import { z } from "zod";
import { KilnError } from "../../errors.ts";
import { killProcess } from "../../os/kill-process.ts";
import { isAlive, type ProcessId } from "../../os/process-id.ts";
import { connectWhenListening } from "../connect.ts";
import { Cgroup } from "../jail/cgroups.ts";
import { lastWords } from "../log.ts";
import { AdoptedVmm } from "../process.ts";
import type { VmConfig } from "../vmm.ts";
import { DISK_PATIENCE_S, readCommandLine } from "./arguments.ts";
import { QmpClient } from "./qmp.ts";
import { QemuVm, vmPaths } from "./vm.ts";

/** How long a QEMU that runs may take to answer its new owner, in milliseconds: it may be waiting for its disk's server. */
const ADOPTION_PATIENCE_MS = 1000 * DISK_PATIENCE_S + 15_000;

const MigrationInfo = z.object({ status: z.string().optional() });
const UNDER_WAY = new Set(["setup", "active", "device", "pre-switchover", "wait-unplug"]);

/** Takes up a QEMU that a process which is gone had started in `config.directory`. @throws KilnError `VM_FAILED`. */
export async function adoptQemu(
  config: VmConfig,
  id: ProcessId,
  signal?: AbortSignal,
  patienceMs = ADOPTION_PATIENCE_MS,
): Promise<QemuVm> {
  const { qmpSocket, agentSocket, log } = vmPaths(config.directory);
  const pid = Number.parseInt(id, 10);
  const cgroup = await Cgroup.find(config.directory, pid);
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => cgroup.remove());
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const found = readCommandLine(command.split("\0"));
  if (!isAlive(id) || found?.directory !== config.directory) {
    const said = await lastWords(log);
    throw new KilnError(
      "VM_FAILED",
      `its QEMU ended while nobody looked after it${said === "" ? "" : `: ${said}`}`,
    );
  }
  const patience = AbortSignal.timeout(patienceMs);
  const until = AbortSignal.any([patience, ...(signal ? [signal] : [])]);
  cleanup.defer(() => killProcess(id));
  try {
    const qmp = new QmpClient(await connectWhenListening(qmpSocket, until));
    const process = new AdoptedVmm("QEMU", id, log, cgroup, qmp.closed);
    const giveUp = () => qmp.close();
    until.addEventListener("abort", giveUp);
    try {
      await qmp.execute("qmp_capabilities");
      await endMigration(qmp);
      const agent = await connectWhenListening(agentSocket, until);
      cleanup.move();
      return new QemuVm({ process, qmp, agent, config, seenAs: found.seenAs });
    } finally {
      until.removeEventListener("abort", giveUp);
    }
  } catch (cause) {
    if (signal?.aborted) throw new KilnError("CANCELLED", "cancelled while adopting a VM", { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new KilnError("VM_FAILED", `its QEMU did not answer and was ended: ${why}`, { cause });
  }
}

/** Gives up what its former owner was saving: whoever received that is gone. */
async function endMigration(qmp: QmpClient): Promise<void> {
  const over = qmp.waitFor("MIGRATION", ({ status }) => status === "cancelled" || status === "failed");
  over.catch(() => undefined);
  const { status } = MigrationInfo.parse(await qmp.execute("query-migrate"));
  if (status === undefined || !UNDER_WAY.has(status)) return;
  await qmp.execute("migrate_cancel");
  await over;
}
