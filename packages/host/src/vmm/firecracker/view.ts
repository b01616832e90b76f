import { join } from "node:path";
import { type Visible, VM_FOLDER } from "../jail/jail.ts";
import type { SnapshotFiles } from "../vmm.ts";
import { TUN } from "./tap/taps.ts";

/** A VM's files by the names that Firecracker knows them by. The same for every VM: they are part of a snapshot. */
export interface FirecrackerPaths {
  binary: string;
  apiSocket: string;
  vsock: string;
  disk: string;
  vmlinux: string;
  initrd: string;
  memory: string;
  state: string;
  savedMemory: string;
  savedState: string;
}

export const PATHS: FirecrackerPaths = {
  binary: "/firecracker",
  ...pathsIn(VM_FOLDER),
  disk: "/dev/disk",
  vmlinux: "/vmlinux",
  initrd: "/initrd",
  memory: "/memory",
  state: "/state",
};

/** What is in a VM's folder, which the host knows by another name. */
export function pathsIn(directory: string) {
  return {
    apiSocket: join(directory, "api"),
    vsock: join(directory, "vsock"),
    /** Where the network server finds the guest's link. */
    network: join(directory, "network"),
    savedMemory: join(directory, "saved-memory"),
    savedState: join(directory, "saved-state"),
    /** What a detached Firecracker has to say. */
    log: join(directory, "firecracker.log"),
    /** The guest's console, of a VM that `boot` started. */
    console: join(directory, "console.log"),
  };
}

const file = (source: string, target: string): Visible => ({ source, target, kind: "file" });

/** What a VM starts from: a kernel, or a snapshot. */
export type Sources = { vmlinux: string; initrd: string } | SnapshotFiles;

/** What Firecracker sees beside its VM's folder. */
export function visibleTo(binary: string, node: string, sources: Sources): Visible[] {
  return [
    file("/dev/kvm", "/dev/kvm"),
    file(TUN, TUN),
    file(node, PATHS.disk),
    file(binary, PATHS.binary),
    ...("vmlinux" in sources
      ? [file(sources.vmlinux, PATHS.vmlinux), file(sources.initrd, PATHS.initrd)]
      : [file(sources.memory, PATHS.memory), file(sources.state, PATHS.state)]),
  ];
}
