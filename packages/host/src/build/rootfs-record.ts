import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { KilnHome } from "../home.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** Content of rootfs/<key>/rootfs.json: what the image beside it was made of, by what, and in what time. */
const recordSchema = z.strictObject({
  version: z.literal(1),
  /** Version of Kiln. */
  kiln: z.string(),
  key: hash,
  /** Key of the rootfs that this one is a layer on; it is needed for as long as this one is there. */
  parent: hash.nullable(),
  /** The spec as it was when the image was built. */
  spec: z.record(z.string(), z.unknown()),
  base: z.strictObject({
    name: z.string(),
    image_id: hash,
    digest: z.string().nullable(),
    /** Set when the base was made here from Debian's archive, as the registry was out of reach. */
    made_here: z
      .strictObject({
        made_by: z.string(),
        suite: z.string(),
        made_at: z.string(),
        packages: z.array(z.string()),
      })
      .nullable(),
  }),
  /** Where those things came from that can come from several places, with the digest of the script that was used. */
  sources: z.record(z.string(), z.string()),
  image_id: hash,
  agent_key: hash,
  podman: z.string(),
  isolation: z.string(),
  size_bytes: z.int().positive(),
  used_bytes: z.int().nonnegative(),
  inodes: z.int().nonnegative(),
  /** `sha256:<hex>` of the image's content. */
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  built_at: z.iso.datetime(),
  build_ms: z.int().nonnegative(),
  export_ms: z.int().nonnegative(),
});
export type RootfsRecord = z.output<typeof recordSchema>;

export const ROOTFS_FILE = "rootfs.ext4";
/** Folder of the layer, of a rootfs that has a parent: a sealed diff as block.md describes it. */
export const LAYER_FOLDER = "layer";
export const RECORD_FILE = "rootfs.json";

/** The record of the finished rootfs `key`, or undefined when there is none that this version of Kiln can use. */
export function readRootfsRecord(home: KilnHome, key: string): RootfsRecord | undefined {
  let text: string;
  try {
    text = readFileSync(join(home.rootfs(key), RECORD_FILE), "utf8");
  } catch {
    return undefined;
  }
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
