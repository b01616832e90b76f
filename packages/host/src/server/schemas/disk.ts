import { z } from "zod";

const bytes = z.int().nonnegative();

export const DiskEntry = z
  .object({
    kind: z.enum(["template", "snapshot", "sandbox", "cache"]),
    name: z.string(),
    own_bytes: bytes.meta({ description: "Only this one needs them." }),
    shared_bytes: bytes.meta({ description: "This one needs them, and others as well." }),
  })
  .meta({ id: "DiskEntry" });

export const DiskUsage = z
  .object({
    total_bytes: bytes.meta({
      description: "All of KILN_HOME: the own bytes of every entry, and shared_bytes.",
    }),
    shared_bytes: bytes.meta({ description: "Needed by several entries, each counted once." }),
    free_bytes: bytes.meta({ description: "Left on the file system." }),
    entries: z.array(DiskEntry),
  })
  .meta({ id: "DiskUsage" });

/** Ten years. */
const MAX_AGE_S = 10 * 366 * 86_400;

export const CollectGarbage = z
  .strictObject({
    dry_run: z.boolean().default(false).meta({ description: "Only says what would be removed." }),
    keep: z
      .int()
      .min(0)
      .max(1000)
      .default(0)
      .meta({ description: "Builds of each template that are kept beside the present one." }),
    older_than_s: z
      .number()
      .min(0)
      .max(MAX_AGE_S)
      .optional()
      .meta({ description: "What was used less than so long ago is kept." }),
  })
  .meta({ id: "CollectGarbage" });

export const CollectedPart = z
  .object({
    kind: z.enum(["template", "snapshot", "kernel", "agent", "image", "build", "log", "leftover"]),
    name: z.string(),
    reason: z.string(),
    bytes,
  })
  .meta({ id: "CollectedPart" });

export const Collected = z
  .object({
    dry_run: z.boolean(),
    removed: z.array(CollectedPart),
    removed_bytes: bytes,
    kept: z.array(CollectedPart),
    skipped: z.array(z.string()).meta({ description: "What was not looked at, and why." }),
  })
  .meta({ id: "Collected" });
