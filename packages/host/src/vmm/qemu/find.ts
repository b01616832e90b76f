import { readdir, readFile } from "node:fs/promises";
import { killProcess } from "../../os/kill-process.ts";
import { type ProcessId, processId } from "../../os/process-id.ts";
import { readCommandLine } from "./arguments.ts";

interface FoundVm {
  process: ProcessId;
  /** Its `VmConfig.directory`. */
  directory: string;
}

/** Ends every QEMU in a folder that `isWanted`, and waits for them to be gone. */
export async function killQemuProcesses(isWanted: (directory: string) => boolean): Promise<void> {
  const found = await findQemuProcesses(isWanted);
  await Promise.all(found.map(({ process }) => killProcess(process)));
}

/**
 * Every process whose command line is that of a QEMU in a folder that `isWanted`: what was started but not yet recorded is found as
 * well, and so are the programs that become QEMU.
 */
export async function findQemuProcesses(isWanted: (directory: string) => boolean): Promise<FoundVm[]> {
  const found = await Promise.all(
    (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map((name) => look(Number(name), isWanted)),
  );
  return found.filter((vm) => vm !== undefined);
}

async function look(pid: number, isWanted: (directory: string) => boolean): Promise<FoundVm | undefined> {
  const before = processId(pid);
  if (before === undefined || pid === process.pid) return undefined;
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const directory = readCommandLine(command.split("\0"))?.directory;
  if (directory === undefined || !isWanted(directory)) return undefined;
  // The pid may have become another process's in between.
  return processId(pid) === before ? { process: before, directory } : undefined;
}
