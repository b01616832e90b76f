import { z } from "zod";
import type { ServerKind } from "../os/server/server-kind.ts";
import { MAX_LAYERS } from "./disk/geometry.ts";

/**
 * What is said over a block server's control socket: one JSON object a line, a request with a number and, in any
 * order, an answer with the same number. The first line comes from the server and greets.
 */
export const BLOCK_SERVER: ServerKind = {
  name: "block server",
  greeting: "block",
  version: 2,
  code: "BLOCK_FAILED",
};

/** Files in a server's directory. */
export const CONTROL_SOCKET = "control.sock";
/** In a folder of its own, which a VM may see without seeing the control socket. */
export const NBD_SOCKET = "nbd/sock";

/** Name of a disk. */
export const DiskId = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    "must be 1 to 128 letters, digits, dots, dashes or underscores",
  );

const Path = z.string().min(1).max(4096).startsWith("/", "must be an absolute path");

const Layers = z.array(Path).max(MAX_LAYERS);

export const DiskOptions = z.strictObject({
  id: DiskId,
  /** Path of the base image, a raw file that is never written to. */
  base: Path,
  /** Folders of sealed diffs, lowest first. */
  layers: Layers,
  /** Folder of the diff that takes the writes; made when it is absent. */
  diff: Path,
  /** Size of the device, in bytes, a multiple of 4096. @default the size of the base image, rounded up */
  sizeBytes: z.int().positive().optional(),
  /** Room the diff may take on the host, in bytes: a write that needs more fails with ENOSPC. @default no limit */
  maxDiffBytes: z.int().positive().optional(),
  /** Name of the NBD export: who knows it has the disk. @default 32 random hexadecimal digits */
  exportName: DiskId.optional(),
  /** What a flush does: `disk` waits for stable storage; `process` trusts the host not to lose power. */
  durability: z.enum(["disk", "process"]),
});
export type DiskOptions = z.output<typeof DiskOptions>;

const Id = { seq: z.int().nonnegative(), id: DiskId };
export const ControlRequest = z.discriminatedUnion("op", [
  z.strictObject({ op: z.literal("add"), seq: z.int().nonnegative(), disk: DiskOptions }),
  z.strictObject({ op: z.literal("remove"), ...Id, deleteDiff: z.boolean() }),
  z.strictObject({ op: z.literal("seal"), ...Id }),
  /** `layers`: those below the diff that is sealed, when they are others than before. */
  z.strictObject({ op: z.literal("rotate"), ...Id, diff: Path, layers: Layers.optional() }),
  z.strictObject({ op: z.literal("stats"), ...Id }),
  z.strictObject({ op: z.literal("list"), seq: z.int().nonnegative() }),
  /** Cuts off everybody else, waits until what they asked for is done, then lists. */
  z.strictObject({ op: z.literal("claim"), seq: z.int().nonnegative() }),
  z.strictObject({ op: z.literal("stop"), seq: z.int().nonnegative() }),
]);
export type ControlRequest = z.output<typeof ControlRequest>;

type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type ControlBody = WithoutSeq<ControlRequest>;

export const AddResult = z.object({ sizeBytes: z.int().positive(), exportName: DiskId });
export const ListResult = z.object({
  disks: z.array(
    z.object({ sizeBytes: z.int().positive(), options: DiskOptions.required({ exportName: true }) }),
  ),
});

/** What a disk holds and has done since it was added. */
export const DiskStats = z.object({
  sizeBytes: z.int().positive(),
  /** Room the session's diff takes on the host, in bytes. */
  dataBytes: z.number().nonnegative(),
  /** Blocks of 4 KiB that the session's diff holds. */
  dataBlocks: z.int().nonnegative(),
  /** Blocks that the session's diff says are zero; they take no room. */
  zeroBlocks: z.int().nonnegative(),
  /** Requests taken, whatever came of them. */
  requests: z.int().nonnegative(),
  bytesRead: z.number().nonnegative(),
  bytesWritten: z.number().nonnegative(),
  /** Requests answered with an error. */
  errors: z.int().nonnegative(),
  /** Clients connected just now. */
  connections: z.int().nonnegative(),
});
export type DiskStats = z.output<typeof DiskStats>;
