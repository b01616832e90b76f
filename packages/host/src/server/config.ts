import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { KilnError, systemErrorCode } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { defaultLimits, type Limits } from "../sandbox/limits.ts";
import { StoreConfig } from "../store/config.ts";
import { sourcesConfigSchema } from "../template/sources.ts";
import { TEMPLATE_NAME } from "../template/spec.ts";
import { StepTimeout } from "./schemas/template.ts";

const Config = z.strictObject({
  max_sandboxes: z.int().min(1).max(100_000).optional(),
  max_memory_mib: z.int().min(128).optional(),
  min_available_memory_mib: z.int().min(0).optional(),
  min_free_disk_mib: z.int().min(0).optional(),
  max_disk_mib_per_sandbox: z.int().min(16).optional(),
  max_processes_per_sandbox: z.int().min(16).max(1_000_000).optional(),
  max_builds: z.int().min(1).max(16).default(2),
  build_step_timeout_s: StepTimeout.default(3600),
  sources: sourcesConfigSchema
    .optional()
    .meta({ description: "Where builds take things from; read by builds." }),
  pool: z
    .record(z.string().regex(TEMPLATE_NAME), z.int().min(0).max(100))
    .default({})
    .meta({ description: "How many resumed, idle VMs are kept ready of each template." }),
  store: StoreConfig.optional(),
});

/** `$KILN_HOME/config.json`, with every default filled in. */
export interface DaemonConfig {
  limits: Limits;
  maxBuilds: number;
  /** How long one step of a build may take, in milliseconds. */
  buildStepTimeoutMs: number;
  pool: Readonly<Record<string, number>>;
}

/** Reads the daemon's configuration. @throws KilnError `USAGE` naming the field that is wrong. */
export async function readConfig(home: KilnHome): Promise<DaemonConfig> {
  const path = join(home.root, "config.json");
  const parsed = Config.safeParse(await readJson(path));
  if (!parsed.success) {
    const issues = parsed.error.issues.map(
      ({ path: field, message }) => `${field.join(".") || "it"}: ${message}`,
    );
    throw new KilnError("USAGE", `${path}: ${issues.join("; ")}`, {
      hint: "docs/daemon.md lists the fields",
    });
  }
  const config = parsed.data;
  const defaults = defaultLimits();
  return {
    limits: {
      maxSandboxes: config.max_sandboxes ?? defaults.maxSandboxes,
      maxMemoryMib: config.max_memory_mib ?? defaults.maxMemoryMib,
      minAvailableMemoryMib: config.min_available_memory_mib ?? defaults.minAvailableMemoryMib,
      minFreeDiskMib: config.min_free_disk_mib ?? defaults.minFreeDiskMib,
      maxDiskMib: config.max_disk_mib_per_sandbox ?? defaults.maxDiskMib,
      maxProcesses: config.max_processes_per_sandbox ?? defaults.maxProcesses,
    },
    maxBuilds: config.max_builds,
    buildStepTimeoutMs: config.build_step_timeout_s * 1000,
    pool: config.pool,
  };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return {};
    throw new KilnError(
      "USAGE",
      `${path} is not JSON: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
