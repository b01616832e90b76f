import { z } from "zod";
import { plainText, QueryFlag, queryNumber, Timestamp } from "./common.ts";

const MAX_OFFSET = Number.MAX_SAFE_INTEGER;
const Path = plainText(4095).refine((path) => path !== "", "must not be empty");
const Mode = z
  .string()
  .regex(/^[0-7]{3,4}$/, "must be octal, such as 644")
  .meta({ description: "Permission bits, octal." });
const User = z.string().max(128);

export const PathQuery = z.strictObject({ path: Path });
export const ReadQuery = z.strictObject({
  path: Path,
  offset: queryNumber(0, MAX_OFFSET).optional(),
  length: queryNumber(1, MAX_OFFSET).optional(),
});
export const WriteQuery = z.strictObject({
  path: Path,
  mode: Mode.optional(),
  parents: QueryFlag.optional(),
  user: User.optional(),
});
export const StatQuery = z.strictObject({ path: Path, follow: QueryFlag.optional() });
export const RecursiveQuery = z.strictObject({ path: Path, recursive: QueryFlag.optional() });
export const MakeDirectory = z
  .strictObject({
    path: Path,
    mode: Mode.optional(),
    parents: z.boolean().default(false),
    user: User.optional(),
  })
  .meta({ id: "MakeDirectory" });
export const Rename = z.strictObject({ from: Path, to: Path }).meta({ id: "Rename" });

export const FileInfo = z
  .object({
    name: z.string(),
    path: z.string(),
    type: z.enum(["file", "directory", "symlink", "other"]),
    mode: z.string(),
    uid: z.int(),
    gid: z.int(),
    size_bytes: z.number(),
    modified_at: Timestamp,
    target: z.string().optional(),
  })
  .meta({ id: "FileInfo" });
export const FileList = z.object({ entries: z.array(FileInfo) });
