/** What the daemon tells, in camelCase. test/sdk compares every interface here with the daemon's own description. */

export type SandboxState = "creating" | "running" | "pausing" | "paused" | "resuming" | "dead";

/** What a sandbox can reach: nothing, the internet, or the names, addresses and ports that are listed. */
export type Network = "none" | "full" | { allow: string[] };

export interface SandboxInfo {
  id: string;
  template: string;
  state: SandboxState;
  /** Why it is dead, or what part of it cannot be had from the store at present. */
  reason?: string;
  vcpu: number;
  memoryMib: number;
  diskMib: number;
  metadata: Record<string, string>;
  network: Network;
  /** Room on the host that what it writes may take, in MiB. */
  maxDiskMib?: number;
  /** Processes and threads it may have at once. */
  maxProcesses: number;
  createdAt: Date;
  /** When it is killed or paused; null for never. */
  expiresAt: Date | null;
  onTimeout: "kill" | "pause";
  engine: string;
  /** Id of the sandbox it was forked from. */
  parent?: string;
  /** Whether it ends with the client that holds it. */
  held: boolean;
}

/** A sandbox that was handed over to the store. */
export interface PushedSandbox {
  id: string;
  /** Its address there: `sha256:…`. */
  digest: string;
  sentBytes: number;
  /** Bytes that the store had already. */
  reusedBytes: number;
}

export interface ProcessInfo {
  id: string;
  argv: string[];
  state: "running" | "exited";
  /** 128 + n for a program ended by signal n. */
  exitCode?: number;
  signal?: string;
  timedOut?: boolean;
  startedAt: Date;
  background: boolean;
  terminal: boolean;
  /** Bytes written so far. */
  stdoutBytes: number;
  stderrBytes: number;
}

export interface FileInfo {
  name: string;
  path: string;
  type: "file" | "directory" | "symlink" | "other";
  /** Permission bits, octal: `"644"`. */
  mode: string;
  uid: number;
  gid: number;
  sizeBytes: number;
  modifiedAt: Date;
  /** Where a symbolic link points. */
  target?: string;
}

export interface Stats {
  /** Processor time of the VM. */
  cpuMs: number;
  /** Private memory of the VM on the host. */
  memoryBytes: number;
  /** What the sandbox wrote, on the host. */
  diskBytes: number;
  processes: number;
  guestMemoryTotalBytes: number;
  guestMemoryAvailableBytes: number;
}

/** What runs a VM. */
export type EngineName = "qemu" | "firecracker";
/** `auto`: the best that works on the host. */
export type EngineChoice = EngineName | "auto";

export interface Template {
  name: string;
  source: "built-in" | "user" | "snapshot";
  hash?: string;
  built: boolean;
  vcpu?: number;
  memoryMib?: number;
  /** Why its spec cannot be used. */
  problem?: string;
  /** As it was written: names in snake_case. */
  spec?: Record<string, unknown>;
}

export interface Build {
  id: string;
  template: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  /** Its place among the builds that wait: 1 is the next to run. */
  queuePosition?: number;
  createdAt: Date;
  finishedAt?: Date;
  error?: ErrorBody;
}

/** An error as data. */
export interface ErrorBody {
  code: string;
  message: string;
  hint?: string;
  details?: Record<string, unknown>;
}

export interface Info {
  version: string;
  apiVersion: 1;
  engine?: string;
  accelerator?: string;
  home: string;
  limits: { maxSandboxes: number; maxMemoryMib: number; minFreeDiskMib: number };
  usage: { sandboxes: number; memoryMib: number; freeDiskMib: number };
}

/** Something that takes room on the daemon's disk. */
export interface DiskEntry {
  kind: "template" | "snapshot" | "sandbox" | "cache";
  name: string;
  /** Only this one needs them. */
  ownBytes: number;
  /** This one needs them, and others as well. */
  sharedBytes: number;
}

export interface DiskUsage {
  /** All of the daemon's folder: the own bytes of every entry, and `sharedBytes`. */
  totalBytes: number;
  /** Needed by several entries, each counted once. */
  sharedBytes: number;
  /** Left on the file system. */
  freeBytes: number;
  entries: DiskEntry[];
}

/** Something that a collection removed or kept, and why. */
export interface CollectedPart {
  kind: "template" | "snapshot" | "kernel" | "agent" | "image" | "build" | "log" | "leftover";
  name: string;
  reason: string;
  bytes: number;
}

export interface Collected {
  dryRun: boolean;
  removed: CollectedPart[];
  removedBytes: number;
  kept: CollectedPart[];
  /** What was not looked at, and why. */
  skipped: string[];
}

/** One report of a build's progress. */
export type BuildEvent =
  | { type: "stage"; stage: string; status: "started" | "done" | "failed"; elapsedMs?: number }
  | { type: "message"; stage: string; message: string; fraction?: number }
  | { type: "end"; build: Build };

/** A change under a watched directory. After `overflow` changes were missed: look at it anew. */
export interface WatchEvent {
  type: "created" | "modified" | "removed" | "renamed" | "overflow";
  path: string;
  /** New path, of what was renamed. */
  to?: string;
}

export interface CallOptions {
  /** Gives the call up: it rejects with the signal's reason, and what it started in the guest is killed. */
  signal?: AbortSignal | undefined;
}
