import { z } from "zod";
import { NetworkPolicy } from "../../network/policy/schema.ts";
import { SANDBOX_STATES, type SandboxRecord } from "../../sandbox/sandbox-record.ts";
import { SPEC_LIMITS, TEMPLATE_NAME } from "../../template/spec.ts";
import { EngineChoice } from "../../vmm/engines.ts";
import { Environment, plainText, queryNumber, Timestamp } from "./common.ts";

/** A year: longer timeouts are mistakes. */
const MAX_TIMEOUT_S = 366 * 24 * 3600;
const MAX_METADATA = 64;

const Network = NetworkPolicy.meta({
  id: "Network",
  description: "What the sandbox can reach: nothing, the internet, or what is listed.",
});

export const Metadata = z
  .record(z.string().min(1).max(64), plainText(1024))
  .refine(
    (metadata) => Object.keys(metadata).length <= MAX_METADATA,
    `must have at most ${MAX_METADATA} entries`,
  );

const TimeoutSeconds = z.number().positive().max(MAX_TIMEOUT_S).nullable();
const OnTimeout = z.enum(["kill", "pause"]);
export const TemplateName = z.string().max(63).regex(TEMPLATE_NAME, "must be the name of a template");

export const CreateSandbox = z
  .strictObject({
    template: TemplateName,
    vcpu: z.int().min(SPEC_LIMITS.vcpu.min).max(SPEC_LIMITS.vcpu.max).optional(),
    memory_mib: z.int().min(SPEC_LIMITS.memoryMib.min).max(SPEC_LIMITS.memoryMib.max).optional(),
    engine: EngineChoice.optional().meta({
      description: "What runs it; auto, or nothing: the best that works on this host.",
    }),
    env: Environment.default({}),
    metadata: Metadata.default({}),
    timeout_s: TimeoutSeconds.default(null).meta({ description: "Seconds until it ends; null: never." }),
    on_timeout: OnTimeout.default("kill"),
    network: Network.default("full"),
    max_disk_mib: z.int().min(16).max(SPEC_LIMITS.diskMib.max).optional().meta({
      description: "Room on the host that what it writes may take; the guest's writes fail beyond that.",
    }),
    max_processes: z.int().min(16).max(1_000_000).optional().meta({
      description: "Processes and threads it may have at once.",
    }),
    held: z.boolean().default(false),
  })
  .meta({ id: "CreateSandbox" });

export const UpdateSandbox = z
  .strictObject({
    timeout_s: TimeoutSeconds.optional(),
    on_timeout: OnTimeout.optional(),
    metadata: Metadata.optional(),
  })
  .meta({ id: "UpdateSandbox" });

export const ResumeSandbox = z
  .strictObject({ timeout_s: TimeoutSeconds.optional() })
  .meta({ id: "ResumeSandbox" });
export const ForkSandbox = z
  .strictObject({ count: z.int().min(1).max(100).default(1) })
  .meta({ id: "ForkSandbox" });
export const SnapshotSandbox = z.strictObject({ name: TemplateName }).meta({ id: "SnapshotSandbox" });

export const PushedSandbox = z
  .object({ id: z.string(), digest: z.string(), sent_bytes: z.int(), reused_bytes: z.int() })
  .meta({ id: "PushedSandbox" });

export const Sandbox = z
  .object({
    id: z.string(),
    template: z.string(),
    state: z.enum(SANDBOX_STATES),
    reason: z.string().optional(),
    vcpu: z.int(),
    memory_mib: z.int(),
    disk_mib: z.int(),
    metadata: z.record(z.string(), z.string()),
    network: Network,
    max_disk_mib: z.int().optional(),
    max_processes: z.int(),
    created_at: Timestamp,
    expires_at: Timestamp.nullable(),
    on_timeout: OnTimeout,
    engine: z.string(),
    parent: z.string().optional(),
    held: z.boolean(),
  })
  .meta({ id: "Sandbox" });

export const SandboxList = z.object({ sandboxes: z.array(Sandbox), next_cursor: z.string().optional() });

export const ListQuery = z.looseObject({
  state: z
    .string()
    .transform((text) => text.split(","))
    .pipe(z.array(z.enum(SANDBOX_STATES)))
    .optional()
    .meta({ description: "States, separated by commas." }),
  template: TemplateName.optional(),
  limit: queryNumber(1, 1000).optional(),
  cursor: z.string().max(64).optional(),
});

export const Stats = z
  .object({
    cpu_ms: z.number(),
    memory_bytes: z.int(),
    disk_bytes: z.int(),
    processes: z.int(),
    guest_memory_total_bytes: z.int(),
    guest_memory_available_bytes: z.int(),
  })
  .meta({ id: "Stats" });

/** @param missing why a part of its disk or memory cannot be had at present. */
export function toSandbox(record: SandboxRecord, missing?: string): z.infer<typeof Sandbox> {
  return {
    id: record.id,
    template: record.template,
    state: record.state,
    ...reasonOf(record, missing),
    vcpu: record.vcpu,
    memory_mib: record.memoryMib,
    disk_mib: Math.round(record.disk.sizeBytes / (1024 * 1024)),
    metadata: record.metadata,
    network: record.network,
    ...(record.maxDiskMib === undefined ? {} : { max_disk_mib: record.maxDiskMib }),
    max_processes: record.maxProcesses,
    created_at: record.createdAt,
    expires_at: record.expiresAt,
    on_timeout: record.onTimeout,
    engine: record.engine,
    ...(record.parent === undefined ? {} : { parent: record.parent }),
    held: record.held,
  };
}

function reasonOf({ reason, moved }: SandboxRecord, missing: string | undefined): { reason?: string } {
  const handedOver =
    moved === undefined
      ? undefined
      : "it was handed over to the store: it goes on here if no other node has taken it";
  const why = reason ?? missing ?? handedOver;
  return why === undefined ? {} : { reason: why };
}
