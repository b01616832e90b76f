import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import canonicalize from "canonicalize";
import { z } from "zod";
import type { KilnHome } from "../home.ts";
import type { SnapshotFiles, Vmm } from "../vmm/vmm.ts";

/** Version of a snapshot folder's layout. */
const FORMAT = 1;

const Manifest = z.object({
  format: z.literal(FORMAT),
  key: z.string(),
  subject: z.object({
    rootfs: z.string(),
    kernel: z.string(),
    vcpu: z.number().int(),
    memoryMib: z.number().int(),
    warmup: z.string(),
    vmm: z.record(z.string(), z.string()),
  }),
  /** The generation of the agent inside; a resume starts a later one. */
  generation: z.number().int().nonnegative(),
  created: z.iso.datetime(),
  /** Milliseconds from starting the VMM to the agent's first word. */
  bootMs: z.number().nonnegative(),
  memoryBytes: z.number().int().positive(),
});

export type SnapshotManifest = z.infer<typeof Manifest>;

/** Everything that shapes a snapshot. */
export type SnapshotSubject = SnapshotManifest["subject"];

/** A snapshot that is whole and can be resumed any number of times. */
export interface Snapshot {
  manifest: SnapshotManifest;
  directory: string;
  files: SnapshotFiles;
  /** Folder of the disk layer that holds what booting and warming up wrote. */
  diskLayer: string;
}

export function subjectOf(
  rootfs: { key: string },
  kernel: { key: string },
  vmm: Vmm,
  size: { vcpu: number; memoryMib: number },
  warmup: readonly string[],
): SnapshotSubject {
  return {
    rootfs: rootfs.key,
    kernel: kernel.key,
    vcpu: size.vcpu,
    memoryMib: size.memoryMib,
    warmup: createHash("sha256").update(JSON.stringify(warmup)).digest("hex").slice(0, 16),
    vmm: { ...vmm.identity },
  };
}

export function snapshotKey(subject: SnapshotSubject): string {
  const text = canonicalize({ format: FORMAT, subject }) ?? "";
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/** Paths inside a snapshot's folder. */
export function snapshotPaths(directory: string): {
  files: SnapshotFiles;
  diskLayer: string;
  manifest: string;
} {
  return {
    files: { memory: join(directory, "memory"), state: join(directory, "state") },
    diskLayer: join(directory, "disk"),
    manifest: join(directory, "snapshot.json"),
  };
}

export function encodeManifest(subject: SnapshotSubject, generation: number, bootMs: number): string {
  const manifest: SnapshotManifest = {
    format: FORMAT,
    key: snapshotKey(subject),
    subject,
    generation,
    created: new Date().toISOString(),
    bootMs,
    memoryBytes: subject.memoryMib * 1024 * 1024,
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** The manifest of the snapshot `key`, or undefined when there is none or it is damaged. */
export function readManifest(home: KilnHome, key: string): SnapshotManifest | undefined {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(snapshotPaths(home.snapshot(key)).manifest, "utf8"));
  } catch {
    return undefined;
  }
  const manifest = Manifest.safeParse(content);
  return manifest.success && manifest.data.key === key ? manifest.data : undefined;
}

/** The snapshot of `subject`, or undefined when there is none or it is damaged. */
export function findSnapshot(home: KilnHome, subject: SnapshotSubject): Snapshot | undefined {
  const key = snapshotKey(subject);
  const directory = home.snapshot(key);
  const { files, diskLayer } = snapshotPaths(directory);
  const manifest = readManifest(home, key);
  if (!manifest) return undefined;
  const memory = statSync(files.memory, { throwIfNoEntry: false });
  const state = statSync(files.state, { throwIfNoEntry: false });
  if (memory?.size !== manifest.memoryBytes || !state?.size) return undefined;
  return { manifest, directory, files, diskLayer };
}
