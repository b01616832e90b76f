import type { Duplex } from "node:stream";
import type { ProcessId } from "../os/process-id.ts";

/** What a VM is made of, whichever engine runs it. */
export interface VmConfig {
  /** Folder of its own for sockets and logs; short, since socket paths are limited to 107 bytes. */
  directory: string;
  vcpu: number;
  memoryMib: number;
  kernel: { vmlinuz: string; initrd: string };
  /** The disk, as an NBD export on a Unix socket. */
  disk: { socketPath: string; exportName: string };
  /**
   * Whether the VM outlives the process that started it, for `Vmm.adopt` to take it up again.
   * @default false: it dies with that process, however that one ends
   */
  detached?: boolean;
}

/** The files an engine's snapshot of a VM consists of (the disk is not among them). */
export interface SnapshotFiles {
  /** Guest memory, as large as the guest's memory, sparse. */
  memory: string;
  /** Registers and devices. */
  state: string;
  /** Whether each page of memory that is read has to be brought from far away: not more than what is touched is wanted then. */
  onDemand?: boolean;
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
  /** Where a network server connects to the guest's link: a Unix stream of Ethernet frames, each after its length in 4 bytes. */
  readonly networkSocket: string;
  /** Process id of the VMM, to measure and limit it by. */
  readonly pid: number;
  /** The VMM's process, told apart from a later one of the same pid: what a record keeps to adopt it by. */
  readonly processId: ProcessId;
  /** Resolves when the VM is gone, for whatever reason; never after `release`. */
  readonly exited: Promise<VmExit>;
  /** Stops the guest's processors and waits for what its disk has under way. Paused already: nothing happens. */
  pause(): Promise<void>;
  /** Lets the guest's processors run. Running already: nothing happens. */
  resume(): Promise<void>;
  /**
   * Writes registers and devices of a paused VM that was started by `boot` to the state file; its memory is in the
   * memory file already. The VM is of no use after that but to be stopped.
   */
  snapshot(): Promise<void>;
  /**
   * Pauses a VM that was started by `restore` (or adopted) and writes all of it to `files`, which must not exist, for
   * `restore` to go on from. Afterwards the VM is still there, paused, and its disk is quiet: `resume` lets it go on, `stop` ends
   * it. Both files are on stable storage when this resolves; nothing is left of them when it fails.
   * @throws KilnError `VM_FAILED` when the engine's stream is not understood, `CANCELLED`; the VM is paused
   * then as well, and has to be resumed before it is saved again.
   */
  save(files: SnapshotFiles, signal?: AbortSignal): Promise<void>;
  /** What the engine can tell of a guest that stands still, as text for people; what it refuses to tell is told in its place. */
  describe(): Promise<string>;
  /** Ends the VM without telling the guest. */
  stop(): Promise<void>;
  /** Lets go of a detached VM, which runs on, for `Vmm.adopt` to take up again. This object is of no use after that. */
  release(): Promise<void>;
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
  /** Makes ahead what the next start takes, in the background. A failure shows in whoever starts a VM. */
  warm(): void;
  /** Boots from scratch, with guest memory in `files.memory` so that a snapshot can be taken. */
  boot(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm>;
  /** Continues a snapshot. The memory file is mapped copy-on-write: it is never written to. */
  restore(config: VmConfig, files: SnapshotFiles, signal?: AbortSignal): Promise<Vm>;
  /**
   * Takes up a detached VM that `process` runs in `config.directory`, running or paused as it is. Its former owner must be gone or
   * have released it.
   * @throws KilnError `VM_FAILED` when it is gone or does not answer; it is killed then.
   */
  adopt(config: VmConfig, process: ProcessId, signal?: AbortSignal): Promise<Vm>;
  /** Ends whatever VMM runs in `directory`, if any, and waits for it to be gone. */
  kill(directory: string): Promise<void>;
  /**
   * Ends every VM whose folder is `<root>/<name>` or below, whoever started it, but for those whose `name` is one of `kept`; waits for
   * them to be gone.
   */
  killOthers(root: string, kept: readonly string[]): Promise<void>;
}
