import { readFile } from "node:fs/promises";
import type { z } from "zod";
import type { LiveVm } from "../sandbox/live-vm.ts";
import type { ManagedSandbox } from "../sandbox/managed-sandbox.ts";
import type { Stats } from "./schemas/sandbox.ts";

/** Clock ticks of /proc/PID/stat in a second: USER_HZ, 100 on every Linux there is. */
const TICKS_PER_SECOND = 100;

/** Processor time of a process so far, in milliseconds: fields 14 and 15 of /proc/PID/stat, proc(5). */
async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 1000) / TICKS_PER_SECOND;
}

/** Memory a process shares with nobody, in bytes. */
async function privateBytes(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0);
  return (kib("Private_Clean") + kib("Private_Dirty")) * 1024;
}

/** What all VMs together take of the host, without asking the guests. */
export async function measureHost(
  sandboxes: readonly ManagedSandbox[],
): Promise<{ memoryBytes: number; diskBytes: number }> {
  let memoryBytes = 0;
  let diskBytes = 0;
  await Promise.all(
    sandboxes.map(async ({ live }) => {
      if (live === undefined) return;
      const [memory, disk] = await Promise.all([privateBytes(live.vm.pid), diskUse(live)]);
      memoryBytes += memory;
      diskBytes += disk;
    }),
  );
  return { memoryBytes, diskBytes };
}

/** Bytes of a VM's diff; of one that has gone meanwhile nothing. */
const diskUse = ({ disk }: LiveVm): Promise<number> =>
  disk.stats().then(
    ({ dataBytes }) => dataBytes,
    () => 0,
  );

/** What a sandbox uses now. @throws KilnError `SANDBOX_STATE` when it does not run. */
export async function measure(sandbox: ManagedSandbox): Promise<z.infer<typeof Stats>> {
  const { agent, live } = sandbox;
  const pid = live?.vm.pid ?? -1;
  const [cpu, memory, disk, guest] = await Promise.all([
    cpuMs(pid),
    privateBytes(pid),
    live === undefined ? 0 : diskUse(live),
    agent.usage(),
  ]);
  return {
    cpu_ms: Math.round(cpu),
    memory_bytes: memory,
    disk_bytes: disk,
    processes: guest.processes,
    guest_memory_total_bytes: guest.memoryTotalBytes,
    guest_memory_available_bytes: guest.memoryAvailableBytes,
  };
}
