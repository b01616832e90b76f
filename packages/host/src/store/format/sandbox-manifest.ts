import { z } from "zod";
import { damaged, digestOf } from "./digest.ts";
import { MAX_TEMPLATE_MANIFEST_BYTES } from "./limits.ts";
import { FileName, StoredFile } from "./template-manifest.ts";

/** Folders that a sandbox may bring along, relative to KILN_HOME: those of its template, and what it has written itself. */
const FolderName = z
  .string()
  .regex(
    /^(rootfs\/[0-9a-f]{64}|artifacts\/kernel\/[0-9a-f]{64}|snapshots\/[0-9a-f]{32}|(saved|layers)\/[0-9a-f]{24})$/,
    "not a folder of a sandbox",
  );

const SandboxManifest = z.strictObject({
  format: z.literal(1),
  id: z.string().max(64),
  pushedAt: z.iso.datetime(),
  /** Version of the Kiln that pushed it. */
  kiln: z.string().max(64),
  /** What the engine that saved its memory is: only one like it can go on. */
  engine: z.record(z.string().max(64), z.string().max(256)),
  /** What the node knew of it; checked by whoever takes it up. */
  record: z.record(z.string(), z.unknown()),
  folders: z.record(FolderName, z.record(FileName, StoredFile)),
});

/** Everything a node needs to go on with a paused sandbox. */
export type SandboxManifest = z.output<typeof SandboxManifest>;

export function encodeSandboxManifest(manifest: SandboxManifest): { bytes: Buffer; digest: string } {
  const bytes = Buffer.from(`${JSON.stringify(SandboxManifest.parse(manifest), undefined, 1)}\n`);
  return { bytes, digest: digestOf(bytes) };
}

/** @throws KilnError `STORE_DAMAGED`. */
export function decodeSandboxManifest(bytes: Buffer, what: string): SandboxManifest {
  if (bytes.length > MAX_TEMPLATE_MANIFEST_BYTES) throw damaged(what, "it is too long");
  let content: unknown;
  try {
    content = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw damaged(what, "it is not JSON", cause);
  }
  const parsed = SandboxManifest.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw damaged(what, `${issue?.path.join(".")}: ${issue?.message}`);
}
