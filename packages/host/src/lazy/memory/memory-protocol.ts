import { join } from "node:path";
import { z } from "zod";
import type { ServerKind } from "../../os/server/server-kind.ts";

/**
 * The memory server: a process, one for each KILN_HOME, that shows files which are still arriving so that VMs can map them. It has no part in
 * fetching, so that it need not end with whoever fetches.
 */
export const MEMORY_SERVER: ServerKind = {
  name: "memory server",
  greeting: "memory",
  version: 1,
  code: "STORE_UNAVAILABLE",
  threads: 8,
};

export const memoryDirectory = (home: string): string => join(home, "fetch", "memory");
export const CONTROL_SOCKET = "control.sock";

const seq = z.int().nonnegative();

export const MemoryRequest = z.discriminatedUnion("op", [
  /** Answered with a path that reads as the file does, with what is missing fetched; null where the host allows no such thing. */
  z.strictObject({ op: z.literal("show"), seq, path: z.string().min(1).max(4096).startsWith("/") }),
  /** Answered when files can be shown, or it is known that they cannot. */
  z.strictObject({ op: z.literal("start"), seq }),
  z.strictObject({ op: z.literal("stop"), seq }),
]);
export type MemoryRequest = z.output<typeof MemoryRequest>;

type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type MemoryBody = WithoutSeq<MemoryRequest>;

export const Shown = z.object({ path: z.string().nullable() });
