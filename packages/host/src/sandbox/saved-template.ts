import { readFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { TEMPLATE_NAME } from "../template/spec.ts";

const SavedTemplateSchema = z.object({
  format: z.literal(1),
  name: z.string().max(63).regex(TEMPLATE_NAME),
  /** The template of the sandbox it was made from. */
  from: z.string(),
  createdAt: z.iso.datetime(),
  vcpu: z.int().positive(),
  memoryMib: z.int().positive(),
  env: z.record(z.string(), z.string()),
  engine: z.string(),
  kernel: z.object({ vmlinuz: z.string(), initrd: z.string() }),
  source: z.object({ folder: z.string(), generation: z.int().nonnegative() }),
  base: z.string(),
  sizeBytes: z.int().positive(),
  layers: z.array(z.string()),
});

/** A template that was made from a running sandbox: sandboxes of it go on where that one was. Paths are below KILN_HOME. */
export type SavedTemplate = z.infer<typeof SavedTemplateSchema>;

const fileOf = (home: KilnHome, name: string) => join(home.savedTemplates, `${name}.json`);

export async function writeSavedTemplate(home: KilnHome, template: SavedTemplate): Promise<void> {
  await writeFileAtomic(fileOf(home, template.name), `${JSON.stringify(template, undefined, 2)}\n`);
}

/** The template `name` that was made from a sandbox, or undefined. */
export function readSavedTemplate(home: KilnHome, name: string): SavedTemplate | undefined {
  if (!TEMPLATE_NAME.test(name)) return undefined;
  try {
    return SavedTemplateSchema.parse(JSON.parse(readFileSync(fileOf(home, name), "utf8")));
  } catch {
    return undefined;
  }
}

export async function listSavedTemplates(home: KilnHome): Promise<SavedTemplate[]> {
  const files = await readdir(home.savedTemplates).catch(() => []);
  const names = files.filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -".json".length));
  const found = names.sort().map((name) => readSavedTemplate(home, name));
  return found.filter((template) => template !== undefined);
}

export async function removeSavedTemplate(home: KilnHome, name: string): Promise<void> {
  await rm(fileOf(home, name), { force: true });
}
