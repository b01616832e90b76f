import { z } from "zod";
import { KilnError } from "../errors.ts";
import { TEMPLATE_NAME } from "../template/spec.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { checkDigest, DIGEST, damaged } from "./format/digest.ts";
import { MAX_SMALL_OBJECT_BYTES, MAX_TEMPLATE_MANIFEST_BYTES } from "./format/limits.ts";
import { decodeTemplateManifest, type TemplateManifest } from "./format/template-manifest.ts";

/** A template in a store: by a name whose meaning may change, or by a version that never does. */
export interface Reference {
  name: string;
  digest: string | undefined;
}

/** Reads `python` or `python@sha256:…`. @throws KilnError `USAGE`. */
export function parseReference(text: string): Reference {
  const [, name = "", digest] = /^([^@]*)(?:@sha256:(.*))?$/.exec(text) ?? [];
  if (TEMPLATE_NAME.test(name) && name.length <= 63 && (digest === undefined || DIGEST.test(digest))) {
    return { name, digest };
  }
  throw new KilnError("USAGE", `"${text}" names no template in a store`, {
    hint: "a name such as python, or python@sha256: and 64 hexadecimal digits",
  });
}

const Tag = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  digest: z.string().regex(DIGEST),
  movedAt: z.iso.datetime(),
});
export type Tag = z.output<typeof Tag>;

export async function writeTag(
  store: ObjectStore,
  name: string,
  digest: string,
  signal?: AbortSignal,
): Promise<void> {
  const tag: Tag = { format: 1, name, digest, movedAt: new Date().toISOString() };
  await store.put(keys.tag(name), Buffer.from(`${JSON.stringify(tag)}\n`), signal);
}

/** The version that `name` stands for, or undefined. @throws KilnError `STORE_DAMAGED`. */
export async function readTag(
  store: ObjectStore,
  name: string,
  signal?: AbortSignal,
): Promise<Tag | undefined> {
  const bytes = await store.get(keys.tag(name), { maxBytes: MAX_SMALL_OBJECT_BYTES, signal });
  if (bytes === undefined) return undefined;
  try {
    const tag = Tag.parse(JSON.parse(bytes.toString("utf8")));
    if (tag.name === name) return tag;
  } catch {
    // As good as another's.
  }
  throw damaged(`tag ${name}`, "it does not say which version it stands for");
}

/** Every name in the store and the version it stands for; what is damaged is left out. */
export async function listTags(store: ObjectStore, signal?: AbortSignal): Promise<Tag[]> {
  const names: string[] = [];
  for await (const { key } of store.list("tags/", signal)) names.push(key.slice("tags/".length));
  const tags = await Promise.all(
    names.sort().map((name) => readTag(store, name, signal).catch(() => undefined)),
  );
  return tags.filter((tag) => tag !== undefined);
}

/**
 * The version that a reference means.
 * @throws KilnError `TEMPLATE_NOT_FOUND` when the store has none; `STORE_DAMAGED`.
 */
export async function resolveReference(
  store: ObjectStore,
  reference: Reference,
  signal?: AbortSignal,
): Promise<string> {
  const digest = reference.digest ?? (await readTag(store, reference.name, signal))?.digest;
  if (digest !== undefined) return digest;
  throw new KilnError("TEMPLATE_NOT_FOUND", `the store ${store.name} has no template "${reference.name}"`, {
    hint: "kiln store ls lists what it has; kiln store push brings a template there",
  });
}

/** @throws KilnError `STORE_DAMAGED` when the manifest is missing, altered, or of another name. */
export async function readTemplateManifest(
  store: ObjectStore,
  { name, digest }: { name: string | undefined; digest: string },
  signal?: AbortSignal,
): Promise<TemplateManifest> {
  const what = `template manifest ${digest}`;
  const bytes = await store.get(keys.template(digest), { maxBytes: MAX_TEMPLATE_MANIFEST_BYTES, signal });
  if (bytes === undefined) throw damaged(what, "it is missing");
  const manifest = decodeTemplateManifest(checkDigest(what, bytes, digest), what);
  if (name !== undefined && manifest.name !== name)
    throw damaged(what, `it is of "${manifest.name}", not of "${name}"`);
  return manifest;
}
