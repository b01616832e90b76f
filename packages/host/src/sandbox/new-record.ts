import { randomBytes } from "node:crypto";
import { KilnError } from "../errors.ts";
import type { Launchable } from "./launchable.ts";
import type { Limits } from "./limits.ts";
import { makeId } from "./sandbox-id.ts";
import { recordFormat, type SandboxRecord } from "./sandbox-record.ts";
import { newLayer } from "./storage.ts";

/** What somebody asks for when creating a sandbox. */
export interface CreateOptions {
  env: Record<string, string>;
  metadata: Record<string, string>;
  timeoutMs: number | null;
  onTimeout: "kill" | "pause";
  network: SandboxRecord["network"];
  /** Less than the daemon's own limits, which hold where these are left out. */
  maxDiskMib?: number | undefined;
  maxProcesses?: number | undefined;
  held: boolean;
}

/**
 * The record of a sandbox that is to be made, with an identity of its own.
 * @throws KilnError `LIMIT_REACHED` when more is asked for than the daemon gives one.
 */
export function newRecord(
  limits: Limits,
  launchable: Launchable,
  options: CreateOptions,
  parent?: string,
): SandboxRecord {
  const { template, vcpu, memoryMib, engine, kernel, source, base, sizeBytes, layers } = launchable;
  const now = Date.now();
  return {
    format: recordFormat,
    id: makeId(),
    state: "creating",
    template,
    vcpu,
    memoryMib,
    env: { ...launchable.env, ...options.env },
    metadata: options.metadata,
    network: options.network,
    ...limitsOf(limits, options),
    createdAt: new Date(now).toISOString(),
    expiresAt: options.timeoutMs === null ? null : new Date(now + options.timeoutMs).toISOString(),
    onTimeout: options.onTimeout,
    engine,
    ...(parent === undefined ? {} : { parent }),
    held: options.held,
    machineId: randomBytes(16).toString("hex"),
    kernel,
    source,
    disk: {
      base,
      sizeBytes,
      layers,
      diff: newLayer(),
      exportName: randomBytes(16).toString("hex"),
    },
  };
}

function limitsOf(
  limits: Limits,
  { maxDiskMib, maxProcesses }: CreateOptions,
): Pick<SandboxRecord, "maxDiskMib" | "maxProcesses"> {
  const check = (name: string, asked: number | undefined, limit: number | undefined) => {
    if (asked === undefined || limit === undefined || asked <= limit) return asked ?? limit;
    throw new KilnError("LIMIT_REACHED", `${name} may be at most ${limit} here: ${asked} was asked for`, {
      hint: `ask for less, or raise ${name}_per_sandbox in the daemon's configuration`,
    });
  };
  const disk = check("max_disk_mib", maxDiskMib, limits.maxDiskMib);
  return {
    ...(disk === undefined ? {} : { maxDiskMib: disk }),
    maxProcesses: check("max_processes", maxProcesses, limits.maxProcesses) ?? limits.maxProcesses,
  };
}
