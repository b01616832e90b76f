import { z } from "zod";
import { TEMPLATE_NAME, type TemplateSpec, templateSpecSchema } from "../../template/spec.ts";
import { damaged, digestOf } from "./digest.ts";
import { MAX_IMAGE_BYTES, MAX_TEMPLATE_MANIFEST_BYTES } from "./limits.ts";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const MAX_INLINE = 256 * 1024;

/** Folders that a template may bring along, relative to KILN_HOME: nothing else is ever written. */
const FolderName = z
  .string()
  .regex(
    /^(rootfs\/[0-9a-f]{64}|artifacts\/(kernel|agent)\/[0-9a-f]{64}|snapshots\/[0-9a-f]{32})$/,
    "not a folder of a template",
  );

export const FileName = z
  .string()
  .max(200)
  .regex(/^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*){0,2}$/i, "not a file's name");

const executable = z.literal(true).optional();

export const StoredFile = z.union([
  z.strictObject({
    /** Address of its image manifest. */
    image: digest,
    size: z.int().nonnegative().max(MAX_IMAGE_BYTES),
    /** Whether it is of use before all of it has come. */
    lazy: z.boolean(),
    executable,
  }),
  /** Its content, in base64. */
  z.strictObject({ inline: z.base64().max(MAX_INLINE), executable }),
]);
export type StoredFile = z.output<typeof StoredFile>;

/** Files by name, by folder relative to KILN_HOME. */
export type StoredFolders = Record<string, Record<string, StoredFile>>;

/** Addresses of the images among them; `lazy`: only of those that are of use before all has come. */
export function imagesOf(folders: StoredFolders, { lazy = false } = {}): string[] {
  return Object.values(folders).flatMap((files) =>
    Object.values(files).flatMap((file) => ("image" in file && (file.lazy || !lazy) ? [file.image] : [])),
  );
}

const TemplateManifest = z.strictObject({
  format: z.literal(1),
  name: z.string().max(63).regex(TEMPLATE_NAME),
  pushedAt: z.iso.datetime(),
  /** Version of the Kiln that pushed it. */
  kiln: z.string().max(64),
  spec: templateSpecSchema,
  /** Specs of the templates that it starts from, nearest first. */
  parents: z.array(templateSpecSchema).max(16).default([]),
  disk: z.strictObject({
    /** The folder whose root file system is the disk's base image. */
    base: FolderName,
    /** Folders of sealed diffs upon it, lowest first. */
    layers: z.array(FolderName).max(200),
  }),
  kernel: FolderName,
  /** The guest agent, which a node also runs to measure its clock. */
  agent: FolderName.optional(),
  snapshots: z.array(FolderName).max(64),
  folders: z.record(FolderName, z.record(FileName, StoredFile)),
});

/** Everything a node needs to start sandboxes of a template. */
export type TemplateManifest = z.output<typeof TemplateManifest>;

export function encodeTemplateManifest(manifest: TemplateManifest): { bytes: Buffer; digest: string } {
  const bytes = Buffer.from(`${JSON.stringify(TemplateManifest.parse(manifest), undefined, 1)}\n`);
  return { bytes, digest: digestOf(bytes) };
}

/** The template's spec with those of the templates it starts from. */
export function specOf({ spec, parents }: TemplateManifest): TemplateSpec {
  const parent = parents.reduceRight<TemplateSpec | undefined>(
    (below, own) => (below === undefined ? own : { ...own, parent: below }),
    undefined,
  );
  return parent === undefined ? spec : { ...spec, parent };
}

/** Key of the template's root file system: the topmost folder of its disk. */
export const rootfsKeyOf = ({ disk }: TemplateManifest): string =>
  (disk.layers.at(-1) ?? disk.base).slice("rootfs/".length);

/** @throws KilnError `STORE_DAMAGED`. */
export function decodeTemplateManifest(bytes: Buffer, what: string): TemplateManifest {
  if (bytes.length > MAX_TEMPLATE_MANIFEST_BYTES) throw damaged(what, "it is too long");
  let content: unknown;
  try {
    content = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw damaged(what, "it is not JSON", cause);
  }
  const parsed = TemplateManifest.safeParse(content);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw damaged(what, `${issue?.path.join(".")}: ${issue?.message}`);
  }
  const manifest = parsed.data;
  const { disk, kernel, snapshots, folders, agent } = manifest;
  for (const name of [
    disk.base,
    ...disk.layers,
    kernel,
    ...snapshots,
    ...(agent === undefined ? [] : [agent]),
  ]) {
    if (folders[name] === undefined) throw damaged(what, `${name} is not in it`);
  }
  return manifest;
}
