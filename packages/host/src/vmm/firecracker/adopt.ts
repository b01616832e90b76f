import { KilnError } from "../../errors.ts";
import { killProcess } from "../../os/kill-process.ts";
import { isAlive, type ProcessId } from "../../os/process-id.ts";
import { connectWhenListening } from "../connect.ts";
import { Cgroup } from "../jail/cgroups.ts";
import { uidOf } from "../jail/jail.ts";
import { lastWords } from "../log.ts";
import { AdoptedVmm } from "../process.ts";
import type { VmConfig } from "../vmm.ts";
import { AgentWire } from "./agent-wire.ts";
import { FirecrackerApi } from "./api.ts";
import { directoryOf } from "./find.ts";
import { listSlots } from "./nbd/list-slots.ts";
import type { NbdSlot, NbdSlots } from "./nbd/slots.ts";
import { pathsIn } from "./view.ts";
import { FirecrackerVm } from "./vm.ts";
import { connectAgent } from "./vsock.ts";

/** How long a Firecracker that runs may take to answer its new owner, in milliseconds. */
const ADOPTION_PATIENCE_MS = 30_000;

/** Takes up a Firecracker that a process which is gone had started in `config.directory`. @throws KilnError `VM_FAILED`. */
export async function adoptFirecracker(
  slots: NbdSlots,
  config: VmConfig,
  id: ProcessId,
  signal?: AbortSignal,
): Promise<FirecrackerVm> {
  const { directory } = config;
  const paths = pathsIn(directory);
  const pid = Number.parseInt(id, 10);
  const cgroup = await Cgroup.find(directory, pid);
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => cgroup.remove());
  if (!isAlive(id) || (await directoryOf(pid)) !== directory) {
    const said = await lastWords(paths.log);
    throw new KilnError(
      "VM_FAILED",
      `its Firecracker ended while nobody looked after it${said === "" ? "" : `: ${said}`}`,
    );
  }
  const until = AbortSignal.any([AbortSignal.timeout(ADOPTION_PATIENCE_MS), ...(signal ? [signal] : [])]);
  cleanup.defer(() => killProcess(id));
  try {
    const api = new FirecrackerApi(await connectWhenListening(paths.apiSocket, until));
    return await api.during(until, async () => {
      const state = await api.state();
      const slot = await adoptSlot(slots, config);
      const agent = new AgentWire(state === "Running" ? await connectAgent(paths.vsock, until) : undefined);
      const process = new AdoptedVmm("Firecracker", id, paths.log, cgroup, api.closed);
      cleanup.move();
      return new FirecrackerVm({ process, api, agent, config, uid: uidOf(directory), slot, slots });
    });
  } catch (cause) {
    if (signal?.aborted) throw new KilnError("CANCELLED", "cancelled while adopting a VM", { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new KilnError("VM_FAILED", `its Firecracker did not answer and was ended: ${why}`, { cause });
  }
}

async function adoptSlot(slots: NbdSlots, { directory, disk }: VmConfig): Promise<NbdSlot> {
  const found = (await listSlots()).find((slot) => slot.directory === directory);
  if (!found) throw new KilnError("BLOCK_FAILED", "its disk is not connected any more");
  return slots.adopt(found.number, directory, disk);
}
