import { z } from "zod";
import { KilnError } from "../errors.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { checkDigest, DIGEST, damaged } from "./format/digest.ts";
import { MAX_SMALL_OBJECT_BYTES, MAX_TEMPLATE_MANIFEST_BYTES } from "./format/limits.ts";
import { decodeSandboxManifest, type SandboxManifest } from "./format/sandbox-manifest.ts";

/** A sandbox as it was when a node handed it over. */
export interface StoredSandbox {
  id: string;
  digest: string;
}

/** The sandboxes that were handed over and nobody has taken yet; of one, with `id`. */
export async function* listSandboxes(
  store: ObjectStore,
  signal?: AbortSignal,
  id?: string,
): AsyncIterable<StoredSandbox> {
  for await (const { key } of store.list(id === undefined ? "sandboxes/" : `sandboxes/${id}/`, signal)) {
    const [, name = "", digest = ""] = key.split("/");
    if (DIGEST.test(digest)) yield { id: name, digest };
  }
}

/** @throws KilnError `STORE_DAMAGED` when the manifest is missing, altered, or of another sandbox. */
export async function readSandboxManifest(
  store: ObjectStore,
  { id, digest }: StoredSandbox,
  signal?: AbortSignal,
): Promise<SandboxManifest> {
  const what = `sandbox manifest ${digest}`;
  const bytes = await store.get(keys.sandbox(id, digest), { maxBytes: MAX_TEMPLATE_MANIFEST_BYTES, signal });
  if (bytes === undefined) throw damaged(what, "it is missing");
  const manifest = decodeSandboxManifest(checkDigest(what, bytes, digest), what);
  if (manifest.id !== id) throw damaged(what, `it is of ${manifest.id}, not of ${id}`);
  return manifest;
}

const Claim = z.strictObject({ format: z.literal(1), node: z.string().regex(/^[0-9a-f]{24}$/) });

/**
 * Makes `node` the one that goes on with what was handed over as `digest`, unless another already is. Claims are never removed: whoever
 * still has a copy finds for ever that it is not theirs to run.
 * @returns the node that goes on with it.
 * @throws KilnError `STORE_UNAVAILABLE` also when the S3 server ignores conditions: two nodes would both be told that they were first.
 */
export async function claimSandbox(store: ObjectStore, digest: string, node: string): Promise<string> {
  const key = keys.claim(digest);
  const content = Buffer.from(`${JSON.stringify({ format: 1, node })}\n`);
  if ((await store.create(key, content)) && (await store.create(key, content))) {
    throw new KilnError("STORE_UNAVAILABLE", `the store ${store.name} does not know conditional writes`, {
      hint: "sandboxes can be handed over through a folder, MinIO or S3 of AWS",
    });
  }
  // Not even after an answer that was lost is there a doubt: it says who was first.
  const bytes = await store.get(key, { maxBytes: MAX_SMALL_OBJECT_BYTES });
  try {
    return Claim.parse(JSON.parse(bytes?.toString("utf8") ?? "")).node;
  } catch {
    throw damaged(`claim ${digest}`, "it does not say whose it is");
  }
}
