import { z } from "zod";

/** How a VMM is kept apart from the host and from other VMMs, beside what its own system call filter does. */
export const Isolation = z.object({
  /** Whether each runs as a user of its own, which owns nothing and has no rights. */
  ownUser: z.boolean(),
  /** Whether each sees its own files only, and no network. */
  ownView: z.boolean(),
  /** Why there is no more, one sentence; none when there is everything. */
  reason: z.string().optional(),
});

export type Isolation = z.infer<typeof Isolation>;
