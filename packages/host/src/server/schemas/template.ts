import { z } from "zod";
import { EngineChoice } from "../../vmm/engines.ts";
import { ErrorBody, Timestamp } from "./common.ts";
import { TemplateName } from "./sandbox.ts";

export const Template = z
  .object({
    name: z.string(),
    source: z.enum(["built-in", "user", "snapshot"]),
    hash: z.string().optional(),
    built: z.boolean(),
    vcpu: z.int().optional(),
    memory_mib: z.int().optional(),
    problem: z.string().optional().meta({ description: "Why its spec cannot be used." }),
    spec: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: "Template" });
export type Template = z.infer<typeof Template>;

export const TemplateList = z.object({ templates: z.array(Template) });
export const TemplateParams = z.object({ name: TemplateName });

/** How long a step of a build may take at most, in seconds. */
export const StepTimeout = z.int().min(1).max(86_400);

const how = {
  engine: EngineChoice.optional(),
  vcpu: z.int().min(1).max(64).optional(),
  memory_mib: z
    .int()
    .min(128)
    .max(1024 * 1024)
    .optional(),
  step_timeout_s: StepTimeout.optional().meta({
    description: "How long one step may take; build_step_timeout_s of the daemon's configuration otherwise.",
  }),
};
export const CreateBuild = z
  .union([
    z.strictObject({ template: TemplateName, ...how }),
    z.strictObject({ spec: z.record(z.string(), z.unknown()), ...how }),
  ])
  .meta({ id: "CreateBuild" });

export const BUILD_STATES = ["queued", "running", "done", "failed", "cancelled"] as const;
export const Build = z
  .object({
    id: z.string(),
    template: z.string(),
    state: z.enum(BUILD_STATES),
    queue_position: z
      .int()
      .min(1)
      .optional()
      .meta({ description: "Its place among the builds that wait: 1 is the next to run." }),
    created_at: Timestamp,
    finished_at: Timestamp.optional(),
    error: ErrorBody.optional(),
  })
  .meta({ id: "Build" });
export type Build = z.infer<typeof Build>;

export const BuildList = z.object({ builds: z.array(Build) });
export const BuildParams = z.object({ build: z.string().regex(/^[a-z0-9]{1,32}$/) });

export const BuildEvent = z
  .discriminatedUnion("type", [
    z.object({
      type: z.literal("stage"),
      stage: z.string(),
      status: z.enum(["started", "done", "failed"]),
      elapsed_ms: z.number().optional(),
    }),
    z.object({
      type: z.literal("message"),
      stage: z.string(),
      message: z.string(),
      fraction: z.number().optional(),
    }),
    z.object({ type: z.literal("end"), build: Build }),
  ])
  .meta({ id: "BuildEvent" });
export type BuildEvent = z.infer<typeof BuildEvent>;
