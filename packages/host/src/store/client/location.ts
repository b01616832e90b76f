import { z } from "zod";
import { KilnError } from "../../errors.ts";
import type { ObjectStore } from "./object-store.ts";

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PREFIX = /^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/;

/** Where a store is: an absolute path, or `s3://bucket/prefix`. */
export const StoreLocation = z.strictObject({
  /** An absolute path, or `s3://bucket` with a prefix. */
  url: z.string().min(1).max(1024),
  /** Base URL of an S3 server that is not AWS. */
  endpoint: z.url({ protocol: /^https?$/ }).optional(),
  region: z.string().max(64).optional(),
  /** Profile in ~/.aws. */
  profile: z.string().max(128).optional(),
});
export type StoreLocation = z.output<typeof StoreLocation>;

/** Opens a store. Nothing is asked of it yet. @throws KilnError `USAGE` when the location makes no sense. */
export async function openStore(location: StoreLocation): Promise<ObjectStore> {
  const { url, endpoint, region, profile } = location;
  if (url.startsWith("/")) {
    const { FolderStore } = await import("./folder-store.ts");
    return new FolderStore(url);
  }
  const [, bucket = "", path = ""] = /^s3:\/\/([^/]*)\/?(.*)$/.exec(url) ?? [];
  const prefix = path === "" || path.endsWith("/") ? path : `${path}/`;
  if (!BUCKET.test(bucket) || !PREFIX.test(prefix)) {
    throw new KilnError("USAGE", `"${url}" is no store`, {
      hint: "an absolute path, or s3://bucket/prefix; for MinIO give its address as the endpoint as well",
    });
  }
  // The client takes a fifth of a second to load.
  const { S3Store } = await import("./s3-store.ts");
  return new S3Store({ bucket, prefix, endpoint, region, profile });
}
