import type { Duplex } from "node:stream";

/** What a VM is made of, whichever engine runs it. */
export interface VmConfig {
  /** Folder of its own for sockets and logs; short, since socket paths are limited to 107 bytes. */
  directory: string;
  vcpu: number;
  memoryMib: number;
  kernel: { vmlinuz: string; initrd: string };
  /** The disk, as an NBD export on a Unix socket. */
  disk: { socketPath: string; exportName: string };
}

/** The files an engine's snapshot of a VM consists of (the disk is not among them). */
export interface SnapshotFiles {
  /** Guest memory, as large as the guest's memory, sparse. */
  memory: string;
  /** Registers and devices. */
  state: string;
}

/** Why a VM is no longer there. */
export interface VmExit {
  /** Whether its owner stopped it. */
  expected: boolean;
  /** One line for people: what ended it, with the engine's last words. */
  reason: string;
}

/** A virtual machine that exists. Disposing it stops it at once and releases all it holds. */
export interface Vm extends AsyncDisposable {
  /** The byte stream to the guest agent. */
  readonly agent: Duplex;
  /** Process id of the VMM, to measure and limit it by. */
  readonly pid: number;
  /** Resolves when the VM is gone, for whatever reason. */
  readonly exited: Promise<VmExit>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Writes registers and devices of a paused VM that was started by `boot` to the state file; its memory is in the
   * memory file already. The VM is of no use after that but to be stopped.
   */
  snapshot(): Promise<void>;
  /** Ends the VM without telling the guest. */
  stop(): Promise<void>;
}

/** One way to run VMs. Nothing above this interface knows which it has. */
export interface Vmm {
  /** `qemu` or `firecracker`. */
  readonly engine: string;
  /**
   * Everything about this engine on this host that shapes a snapshot: a snapshot made under one identity is
   * not resumed under another.
   */
  readonly identity: Readonly<Record<string, string>>;
  /** Boots from scratch, with guest memory in `files.memory` so that a snapshot can be taken. */
  boot(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm>;
  /** Continues a snapshot. The memory file is mapped copy-on-write: it is never written to. */
  restore(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm>;
}
