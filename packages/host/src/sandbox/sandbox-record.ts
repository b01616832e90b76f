import { mkdir, open, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { systemErrorCode } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { NetworkPolicy } from "../network/policy/schema.ts";
import { SANDBOX_ID } from "./sandbox-id.ts";

/** Version of the record's layout. */
const FORMAT = 1;
const RECORD_FILE = "sandbox.json";

export const SANDBOX_STATES = ["creating", "running", "pausing", "paused", "resuming", "dead"] as const;
export type SandboxState = (typeof SANDBOX_STATES)[number];

/** A path below KILN_HOME, which may be moved as a whole. */
const HomePath = z
  .string()
  .min(1)
  .max(4096)
  .refine((path) => !path.startsWith("/") && !path.split("/").includes(".."), "must be below KILN_HOME");

const Record = z.object({
  format: z.literal(FORMAT),
  id: z.string().regex(SANDBOX_ID),
  state: z.enum(SANDBOX_STATES),
  /** Why it is dead. */
  reason: z.string().optional(),
  /** Name of the template it was made of. */
  template: z.string(),
  vcpu: z.int().positive(),
  memoryMib: z.int().positive(),
  env: z.record(z.string(), z.string()),
  metadata: z.record(z.string(), z.string()),
  network: NetworkPolicy,
  /** Room its writes may take on the host, in MiB. */
  maxDiskMib: z.int().positive().optional(),
  /** Processes and threads it may have. */
  maxProcesses: z.int().positive(),
  createdAt: z.iso.datetime(),
  /** When it is killed or paused; null: never. */
  expiresAt: z.iso.datetime().nullable(),
  onTimeout: z.enum(["kill", "pause"]),
  /** Since when it is dead. */
  endedAt: z.iso.datetime().optional(),
  engine: z.string(),
  /** The sandbox it was forked from. */
  parent: z.string().optional(),
  held: z.boolean(),
  /** It runs and belongs to nobody yet. */
  standby: z.boolean().optional(),
  /** What its guest is told at each resume, so that it stays the same machine: 32 hexadecimal digits. */
  machineId: z.string().regex(/^[0-9a-f]{32}$/),
  kernel: z.object({ vmlinuz: HomePath, initrd: HomePath }),
  /** While it is being paused: `source` is complete, and it will be paused whatever happens. */
  saved: z.boolean().optional(),
  /** What its memory goes on from. */
  source: z.object({
    /** Folder with `memory` and `state`. */
    folder: HomePath,
    /** The agent's generation in there. */
    generation: z.int().nonnegative(),
  }),
  disk: z.object({
    base: HomePath,
    sizeBytes: z.int().positive(),
    /** Sealed diffs, lowest first. */
    layers: z.array(HomePath),
    /** The diff that takes its writes. */
    diff: HomePath,
    /** The diff that takes its place while the sandbox is paused, forked or snapshotted. */
    nextDiff: HomePath.optional(),
    exportName: z.string(),
  }),
  /** What it was handed over to the store as: it goes on here only if no other node has taken it, see hand-over.ts. */
  moved: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** The VMM's process, while there is one. */
  process: z.string().optional(),
});

/** Everything the daemon knows about a sandbox, and all it needs to take it up again after its own end. */
export type SandboxRecord = z.infer<typeof Record>;

export const recordFormat = FORMAT;

/**
 * Writes a sandbox's record so that a reader, or a restart after kill -9, sees the old one or the new one. It is not
 * forced to the disk: a host that loses power loses its running sandboxes anyway; what has to last is synced where it
 * is made.
 */
export async function writeRecord(home: KilnHome, record: SandboxRecord, durable = false): Promise<void> {
  const folder = home.sandbox(record.id);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, RECORD_FILE);
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(record)}\n`);
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

/** A sandbox's folder in which no valid record is. */
export interface BrokenRecord {
  id: string;
  /** Whether it has none at all: what a crash during its creation or removal leaves. */
  empty: boolean;
}

/** Every sandbox's record, and the folders that have none. */
export async function readRecords(
  home: KilnHome,
): Promise<{ records: SandboxRecord[]; broken: BrokenRecord[] }> {
  const records: SandboxRecord[] = [];
  const broken: BrokenRecord[] = [];
  for (const id of await readdir(home.sandboxes).catch(() => [])) {
    const text = await readFile(join(home.sandbox(id), RECORD_FILE), "utf8").catch((error) => {
      if (systemErrorCode(error) === "ENOENT") return "";
      throw error;
    });
    const record = parseRecord(text);
    if (record?.id === id) records.push(record);
    else broken.push({ id, empty: text === "" });
  }
  return { records, broken };
}

/** The record that `text` is, or undefined. */
export function parseRecord(text: string): SandboxRecord | undefined {
  try {
    return Record.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
