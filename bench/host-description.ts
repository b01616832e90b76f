import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { cpus, loadavg, release, totalmem } from "node:os";
import { promisify } from "node:util";
import type { QemuProbe } from "../packages/host/src/vmm/qemu/probe.ts";

const TOOL_TIMEOUT_MS = 20_000;
const run = promisify(execFile);

/** Everything about a machine without which its figures mean nothing. */
export interface HostDescription {
  cpu: { model: string; cores: number };
  memoryMib: number;
  /** Release of the running kernel. */
  kernel: string;
  distribution: string;
  /** What runs the guests' instructions and why; absent when no row needed a VM. */
  accelerator?: { name: string; reason: string };
  /** Versions of what took part; null for what is not installed. */
  versions: Record<string, string | null>;
  commit: string | null;
  uncommittedChanges: boolean;
}

/** The first thing that looks like a version in what `command` prints, or null when it is not installed. */
async function versionOf(command: string, args: readonly string[] = ["--version"]): Promise<string | null> {
  try {
    const { stdout } = await run(command, args, { timeout: TOOL_TIMEOUT_MS });
    return /\d+(?:\.\d+)+[^\s,()]*|\S*\d{8}\S*/.exec(stdout)?.[0] ?? stdout.split("\n")[0]?.trim() ?? null;
  } catch {
    return null; // Not there, or not working: both mean that it took no part.
  }
}

async function git(root: string, ...args: string[]): Promise<string | null> {
  try {
    return (await run("git", ["-C", root, ...args], { timeout: TOOL_TIMEOUT_MS })).stdout.trim();
  } catch {
    return null; // Not a checkout.
  }
}

/** Describes this machine; `root` is the checkout. */
export async function describeHost(root: string, probe: QemuProbe | undefined): Promise<HostDescription> {
  const [qemu, podman, runsc, nbdkit, fio, commit, status, osRelease] = await Promise.all([
    versionOf("qemu-system-x86_64"),
    versionOf("podman"),
    versionOf("runsc"),
    versionOf("nbdkit"),
    versionOf("fio"),
    git(root, "rev-parse", "HEAD"),
    git(root, "status", "--porcelain"),
    readFile("/etc/os-release", "utf8").catch(() => ""),
  ]);
  const processors = cpus();
  return {
    cpu: { model: processors[0]?.model ?? "unknown", cores: processors.length },
    memoryMib: Math.round(totalmem() / 1024 / 1024),
    kernel: release(),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(osRelease)?.[1] ?? "unknown",
    ...(probe ? { accelerator: { name: probe.accelerator.kind, reason: probe.reason } } : {}),
    versions: { node: process.versions.node, qemu, podman, runsc, nbdkit, fio },
    commit,
    uncommittedChanges: status !== null && status !== "",
  };
}

/** Load averages over 1, 5 and 15 minutes: on a busy machine only ratios mean anything. */
export function load(): string {
  return loadavg()
    .map((value) => value.toFixed(2))
    .join(" ");
}
