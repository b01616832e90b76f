import { readFileSync, statSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { KilnError, systemErrorCode } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { parseJsonWithComments } from "./json-with-comments.ts";
import { writtenSpec } from "./lineage.ts";
import { nearest } from "./nearest.ts";
import { parseTemplateSpec } from "./parse-spec.ts";
import { TEMPLATE_NAME, type TemplateSpec } from "./spec.ts";

/** The templates that come with Kiln. */
const BUILT_IN = join(import.meta.dirname, "../../../../templates");
const SCHEMA_FILE = "template.schema.json";
/** A spec file larger than this is not a spec. */
const MAX_SPEC_BYTES = 1024 * 1024;

export interface TemplateEntry {
  name: string;
  source: "built-in" | "user";
  /** The file that holds the spec. */
  path: string;
}

/**
 * The spec that `ref` stands for: a path to a spec file (anything with a `/`, or ending in `.json` or
 * `.jsonc`), else a template of the user's, else a built-in one.
 *
 * @throws KilnError `TEMPLATE_NOT_FOUND`, `SPEC_INVALID`.
 * @example
 * const spec = await resolveTemplate(KilnHome.fromEnvironment(), "python");
 */
export async function resolveTemplate(home: KilnHome, ref: string): Promise<TemplateSpec> {
  if (isSpecFile(ref)) {
    const input = await readSpec(ref);
    if (input === undefined) throw new KilnError("TEMPLATE_NOT_FOUND", `there is no spec file ${ref}`);
    return completeSpec(home, input, ref);
  }
  return resolveName(home, ref, []);
}

/** Whether a reference to a template is the path of a spec file. */
export const isSpecFile = (ref: string): boolean => ref.includes("/") || /\.jsonc?$/.test(ref);

/**
 * Checks a spec and, where it starts from another template, looks that up: what the spec does not say of the machine
 * (`vcpu`, `memory_mib`, `disk_mib`, `workdir`, `user`) is as it is there.
 *
 * @param source what the spec came from, for messages.
 * @throws KilnError `SPEC_INVALID`, `TEMPLATE_NOT_FOUND`.
 */
export async function completeSpec(home: KilnHome, input: unknown, source?: string): Promise<TemplateSpec> {
  return complete(home, input, source, []);
}

/** What a spec takes over from the template it starts from unless it says otherwise. */
const INHERITED = ["vcpu", "memory_mib", "disk_mib", "workdir", "user"] as const;
/** Templates that start from each other: more would be a mistake. */
const MAX_LINEAGE = 16;

/** @param heirs names of the templates that are being looked up because they start from this one */
async function complete(
  home: KilnHome,
  input: unknown,
  source: string | undefined,
  heirs: readonly string[],
): Promise<TemplateSpec> {
  const spec = parseTemplateSpec(input, source);
  if (spec.from === undefined) return spec;
  const trail = [...heirs, spec.name];
  if (trail.includes(spec.from) || trail.length > MAX_LINEAGE) {
    const path = [...trail, spec.from].join(" → ");
    throw new KilnError("SPEC_INVALID", `a template cannot start from itself: ${path}`, {
      hint: 'change "from", or give the template another name',
    });
  }
  const parent = await resolveName(home, spec.from, trail);
  const given = input as Record<string, unknown>;
  const inherited = Object.fromEntries(
    INHERITED.filter((field) => given[field] === undefined).map((field) => [field, parent[field]]),
  );
  return { ...spec, ...inherited, base_image: parent.base_image, parent };
}

async function resolveName(home: KilnHome, ref: string, heirs: readonly string[]): Promise<TemplateSpec> {
  if (TEMPLATE_NAME.test(ref) && ref.length <= 63) {
    for (const path of [home.template(ref), join(BUILT_IN, `${ref}.json`)]) {
      const input = await readSpec(path);
      if (input !== undefined) return complete(home, input, path, heirs);
    }
  }
  const names = (await listTemplates(home)).map(({ name }) => name);
  const guess = nearest(ref, names);
  const heir = heirs.at(-1);
  const what = `there is no template named "${ref}"${heir === undefined ? "" : `, which ${heir} starts from`}`;
  throw new KilnError("TEMPLATE_NOT_FOUND", what, {
    hint: guess
      ? `did you mean "${guess}"?`
      : `there are ${names.join(", ")}; a path to a spec file works as well`,
  });
}

/** Every template there is, by name; one of the user's hides a built-in one of the same name. */
export async function listTemplates(home: KilnHome): Promise<TemplateEntry[]> {
  const byName = new Map<string, TemplateEntry>();
  for (const [source, folder] of [
    ["built-in", BUILT_IN],
    ["user", home.templates],
  ] as const) {
    for (const file of await readdir(folder).catch(() => [])) {
      if (!file.endsWith(".json") || file === SCHEMA_FILE) continue;
      const name = basename(file, ".json");
      if (TEMPLATE_NAME.test(name)) byName.set(name, { name, source, path: join(folder, file) });
    }
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Keeps `spec` under its own name among the user's templates, replacing an older one of that name. */
export async function saveTemplate(home: KilnHome, spec: TemplateSpec): Promise<void> {
  await writeFileAtomic(home.template(spec.name), `${JSON.stringify(writtenSpec(spec), undefined, 2)}\n`);
}

/**
 * Forgets the user's template `name`. Rootfs and snapshots made from it stay until `kiln gc` removes them.
 *
 * @throws KilnError `TEMPLATE_NOT_FOUND` when the user has none of that name.
 */
export async function removeTemplate(home: KilnHome, name: string): Promise<void> {
  const entry = (await listTemplates(home)).find((candidate) => candidate.name === name);
  if (entry?.source !== "user") {
    throw new KilnError("TEMPLATE_NOT_FOUND", `you have no template named "${name}"`, {
      hint: entry ? "built-in templates come with Kiln and stay" : "kiln template ls lists what there is",
    });
  }
  await rm(entry.path, { force: true });
}

/** What is written in the file `path`, or undefined when there is no such file. */
async function readSpec(path: string): Promise<unknown> {
  const text = await readText(path);
  return text === undefined ? undefined : parseJsonWithComments(text, path);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    const found = statSync(path);
    if (!found.isFile()) throw new KilnError("SPEC_INVALID", `${path} is not a file`);
    if (found.size > MAX_SPEC_BYTES) throw new KilnError("SPEC_INVALID", `${path} is larger than 1 MiB`);
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof KilnError) throw error;
    const code = systemErrorCode(error);
    if (code === "ENOENT") return undefined;
    throw new KilnError("SPEC_INVALID", `cannot read ${path}: ${code ?? error}`, { cause: error });
  }
}
