import { readdir, readFile } from "node:fs/promises";
import { killProcess } from "../../os/kill-process.ts";
import { type ProcessId, processId } from "../../os/process-id.ts";

/** Variable of a Firecracker's environment that tells which VM it is: in its own view every VM's folder has the same name. */
const FOLDER_VARIABLE = "KILN_FIRECRACKER_VM";

/** What a Firecracker is started with to be found again; every program that becomes it has it as well. */
export const folderEnvironment = (directory: string): Record<string, string> => ({
  [FOLDER_VARIABLE]: directory,
});

/** The `VmConfig.directory` of the Firecracker `pid`, or undefined for any other process. */
export async function directoryOf(pid: number): Promise<string | undefined> {
  const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
  const prefix = `${FOLDER_VARIABLE}=`;
  return environment
    .split("\0")
    .find((entry) => entry.startsWith(prefix))
    ?.slice(prefix.length);
}

/** The folders of all Firecrackers that run. */
export async function firecrackerFolders(): Promise<Set<string>> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const folders = await Promise.all(pids.map(directoryOf));
  return new Set(folders.filter((folder) => folder !== undefined));
}

/** A process that is a Firecracker, or becomes one. */
interface Found {
  process: ProcessId;
  directory: string;
}

/** Every Firecracker in a folder that `isWanted`. */
export async function findFirecrackers(isWanted: (directory: string) => boolean): Promise<Found[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map((pid) => (pid === process.pid ? undefined : look(pid))));
  return found.filter((one) => one !== undefined).filter(({ directory }) => isWanted(directory));
}

/** Ends every Firecracker in a folder that `isWanted`, and waits for them to be gone. */
export async function killFirecrackers(isWanted: (directory: string) => boolean): Promise<void> {
  await Promise.all((await findFirecrackers(isWanted)).map(({ process }) => killProcess(process)));
}

async function look(pid: number): Promise<Found | undefined> {
  const before = processId(pid);
  const directory = before === undefined ? undefined : await directoryOf(pid);
  if (before === undefined || directory === undefined) return undefined;
  // The pid may have become another process's in between.
  return processId(pid) === before ? { process: before, directory } : undefined;
}
