import { basename, dirname, join } from "node:path";
import { type Visible, VM_FOLDER } from "../jail/jail.ts";
import type { SnapshotFiles, VmConfig } from "../vmm.ts";
import type { VmPaths } from "./arguments.ts";
import type { QemuProbe } from "./probe.ts";

export type StartMode = "boot" | "restore";

/** Where the console of a VM that `boot` started is kept, below the VM's folder. */
export const CONSOLE_LOG = "console.log";

/** A VM's files by the names that QEMU knows them by, and what it has to see for that. */
export interface View {
  config: VmConfig;
  memory: { file: string; shared: boolean; readOnly: boolean };
  paths: VmPaths;
  /** What it sees beside the VM's folder. */
  visible: Visible[];
}

const file = (source: string, target: string): Visible => ({ source, target, kind: "file" });

/** First version of QEMU that maps a file privately without opening it for writing. */
const READ_ONLY_MEMORY_SINCE = [8, 2] as const;

/** @param version as in "7.2.22". */
export function opensMemoryReadOnly(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [sinceMajor, sinceMinor] = READ_ONLY_MEMORY_SINCE;
  return major > sinceMajor || (major === sinceMajor && minor >= sinceMinor);
}

export function viewOf(
  { version, isolation, accelerator }: QemuProbe,
  config: VmConfig,
  files: SnapshotFiles,
  mode: StartMode,
): View {
  const shared = mode === "boot";
  const memory = { shared, readOnly: !shared && opensMemoryReadOnly(version) };
  if (!isolation.ownView) {
    const { directory } = config;
    return {
      config,
      memory: { ...memory, file: files.memory },
      paths: pathsIn(directory, mode),
      visible: [],
    };
  }
  const { disk, kernel } = config;
  return {
    config: {
      ...config,
      directory: VM_FOLDER,
      kernel: { vmlinuz: "/vmlinuz", initrd: "/initrd" },
      disk: { ...disk, socketPath: join("/nbd", basename(disk.socketPath)) },
    },
    memory: { ...memory, file: "/memory" },
    paths: pathsIn(VM_FOLDER, mode),
    visible: [
      file(files.memory, "/memory"),
      // The folder rather than the socket: a server that takes another's place makes another socket.
      { source: dirname(disk.socketPath), target: "/nbd", kind: "directory" },
      ...(shared ? [file(kernel.vmlinuz, "/vmlinuz"), file(kernel.initrd, "/initrd")] : []),
      ...(accelerator.kind === "kvm" ? [file("/dev/kvm", "/dev/kvm")] : []),
    ],
  };
}

function pathsIn(folder: string, mode: StartMode): VmPaths {
  return {
    qmpSocket: join(folder, "qmp"),
    agentSocket: join(folder, "agent"),
    networkSocket: join(folder, "net"),
    consoleLog: mode === "boot" ? join(folder, CONSOLE_LOG) : undefined,
  };
}
