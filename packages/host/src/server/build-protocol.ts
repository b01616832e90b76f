import { z } from "zod";
import { EngineName } from "../vmm/engines.ts";
import { ErrorBody } from "./schemas/common.ts";

/** What the daemon tells a build's process. */
export const WorkerRequest = z.object({
  home: z.string(),
  /** A TemplateSpec; parsed again there. */
  spec: z.unknown(),
  vcpu: z.int().optional(),
  memoryMib: z.int().optional(),
  engine: EngineName.optional(),
  /** How long one step may take, in milliseconds. */
  stepTimeoutMs: z.int(),
  /** Room on the disk that the build has to leave, in MiB. */
  minFreeDiskMib: z.int(),
  /** Whether the spec is kept among the user's templates once it is built. */
  save: z.boolean(),
});
export type WorkerRequest = z.infer<typeof WorkerRequest>;

/** What a build's process tells the daemon. */
export const WorkerMessage = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("progress"),
    progress: z.object({
      stage: z.string(),
      status: z.enum(["start", "update", "done", "failed"]),
      message: z.string().optional(),
      fraction: z.number().optional(),
      ms: z.number().optional(),
    }),
  }),
  z.object({ type: z.literal("done") }),
  z.object({ type: z.literal("failed"), error: ErrorBody }),
]);
export type WorkerMessage = z.infer<typeof WorkerMessage>;
