import { readFile, stat } from "node:fs/promises";
import type { TemplateSpec } from "@kiln/sdk/builds.ts";
import type { KilnClient } from "@kiln/sdk/client.ts";
import { KilnError, systemErrorCode } from "@kiln/sdk/errors.ts";
import type { EngineChoice } from "@kiln/sdk/types.ts";
import type { OnProgress } from "../output/progress.ts";

/** A spec file larger than this, in bytes, is not a spec. */
const MAX_SPEC_BYTES = 1024 * 1024;

/** Whether a reference to a template is the path of a spec file. */
export const isSpecFile = (ref: string): boolean => ref.includes("/") || /\.jsonc?$/.test(ref);

export interface BuildSize {
  vcpu?: number;
  memoryMib?: number;
  engine?: EngineChoice;
  signal: AbortSignal;
  onProgress: OnProgress;
}

/** The template that is meant: of a spec file the one that is made of it, and known by the name in it from then on. */
export async function templateName(client: KilnClient, ref: string, size: BuildSize): Promise<string> {
  if (!isSpecFile(ref)) return ref;
  const spec = await readSpecFile(ref);
  return (await client.build(spec, size)).template;
}

/** What is in a spec file. The daemon looks whether it is a spec. */
export async function readSpecFile(path: string): Promise<TemplateSpec> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new KilnError("SPEC_INVALID", `${path} is not a file`);
    if (found.size > MAX_SPEC_BYTES) throw new KilnError("SPEC_INVALID", `${path} is larger than 1 MiB`);
    const { parseJsonWithComments } = await import("@kiln/host/template/json-with-comments.ts");
    const spec: unknown = await parseJsonWithComments(await readFile(path, "utf8"), "it");
    if (typeof spec !== "object" || spec === null) throw new SyntaxError("it is no object");
    return spec as TemplateSpec;
  } catch (cause) {
    if (cause instanceof KilnError) throw cause;
    if (systemErrorCode(cause) === "ENOENT") {
      throw new KilnError("TEMPLATE_NOT_FOUND", `there is no spec file ${path}`, { cause });
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KilnError("SPEC_INVALID", `${path} is not a spec: ${reason}`, { cause });
  }
}
