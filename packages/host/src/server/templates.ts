import { dirname, relative } from "node:path";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { findBuilt, ownPart, removeBuilt } from "../sandbox/built-template.ts";
import { findBootable, type Variant } from "../sandbox/find-bootable.ts";
import { type Holdings, RemovedError } from "../sandbox/holdings.ts";
import { fromBootable, fromSavedTemplate, type Launchable } from "../sandbox/launchable.ts";
import { pullTemplate } from "../sandbox/pull-template.ts";
import { listSavedTemplates, readSavedTemplate, type SavedTemplate } from "../sandbox/saved-template.ts";
import { writtenSpec } from "../template/lineage.ts";
import { specHash } from "../template/spec-hash.ts";
import { listTemplates, removeTemplate, resolveTemplate } from "../template/templates.ts";
import type { Builds } from "./builds.ts";
import type { Template } from "./schemas/template.ts";

export function describeSaved({ name, vcpu, memoryMib }: SavedTemplate): Template {
  return { name, source: "snapshot", built: true, vcpu, memory_mib: memoryMib };
}

/** @throws KilnError `CONFLICT` when there is a template of that name: one is never put in another's place. */
export async function refuseKnownName(home: KilnHome, name: string): Promise<void> {
  const isSaved = readSavedTemplate(home, name) !== undefined;
  const spec = (await listTemplates(home)).find((entry) => entry.name === name);
  if (!isSaved && spec === undefined) return;
  throw new KilnError("CONFLICT", `there is a template named "${name}"`, {
    hint:
      spec?.source === "built-in"
        ? "take another name"
        : `take another name, or remove it: kiln template rm ${name}`,
  });
}

/** Every template by name, those made from sandboxes included. */
export async function describeTemplates(home: KilnHome): Promise<Template[]> {
  const saved = await listSavedTemplates(home);
  const names = new Set(saved.map(({ name }) => name));
  const specs = (await listTemplates(home)).filter(({ name }) => !names.has(name));
  const described = await Promise.all(specs.map(({ name }) => describeTemplate(home, name, false)));
  return [...saved.map(describeSaved), ...described].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** @throws KilnError `TEMPLATE_NOT_FOUND`. */
export async function describeTemplate(home: KilnHome, name: string, withSpec = true): Promise<Template> {
  const saved = readSavedTemplate(home, name);
  if (saved) return describeSaved(saved);
  const source = (await listTemplates(home)).find((entry) => entry.name === name)?.source ?? "user";
  try {
    const spec = await resolveTemplate(home, name);
    return {
      name,
      source,
      hash: specHash(spec),
      built: (await findBootable(home, spec)) !== undefined,
      vcpu: spec.vcpu,
      memory_mib: spec.memory_mib,
      ...(withSpec ? { spec: { ...writtenSpec(spec) } } : {}),
    };
  } catch (error) {
    if (error instanceof KilnError && error.code === "SPEC_INVALID") {
      return { name, source, built: false, problem: error.message };
    }
    throw error;
  }
}

/** What sandboxes of the template `name` in its own size start from, or undefined while it is not built. */
export async function findLaunchable(home: KilnHome, name: string): Promise<Launchable | undefined> {
  const saved = readSavedTemplate(home, name);
  if (saved) return fromSavedTemplate(saved);
  const found = await findBootable(home, await resolveTemplate(home, name));
  return found && fromBootable(home, name, found);
}

/**
 * What sandboxes of the template `name` start from; built first where it has to be.
 * @param onBuild is told the id of the build that is waited for.
 */
export async function launchableOf(
  { home, builds }: { home: KilnHome; builds: Builds },
  name: string,
  variant: Variant,
  onBuild: (id: string) => void,
  signal?: AbortSignal,
): Promise<Launchable> {
  const saved = readSavedTemplate(home, name);
  if (saved) {
    const { vcpu = saved.vcpu, memoryMib = saved.memoryMib, engine = saved.engine } = variant;
    if (vcpu !== saved.vcpu || memoryMib !== saved.memoryMib || engine !== saved.engine) {
      throw new KilnError(
        "USAGE",
        `${name} was made from a sandbox: its sandboxes have its size and its engine`,
        {
          hint: `leave vcpu, memory_mib and engine out: they are ${saved.vcpu}, ${saved.memoryMib} and ${saved.engine}`,
        },
      );
    }
    return fromSavedTemplate(saved);
  }
  const spec = await resolveTemplate(home, name);
  const here = await findBootable(home, spec, variant);
  if (here) return fromBootable(home, name, here);
  await pullTemplate(home, spec, { ...variant, signal });
  const pulled = await findBootable(home, spec, variant);
  if (pulled) return fromBootable(home, name, pulled);
  const build = await builds.start({ spec, ...variant, save: false });
  onBuild(build.id);
  await builds.wait(build.id, signal);
  const built = await findBootable(home, spec, variant);
  if (!built) throw new RemovedError(name);
  return fromBootable(home, name, built);
}

/** Removes a template and what was built from it, unless another template has the same root file system. @throws KilnError `TEMPLATE_NOT_FOUND`. */
export async function forgetTemplate(home: KilnHome, holdings: Holdings, name: string): Promise<void> {
  const saved = readSavedTemplate(home, name);
  if (saved) {
    await holdings.removeTemplate(saved);
    return;
  }
  const spec = await resolveTemplate(home, name);
  await holdings.remove(async ({ bySandboxes, byProcesses }) => {
    const built = await findBuilt(home, spec);
    const part = built && relative(home.root, ownPart(built.rootfs));
    if (part !== undefined && bySandboxes.has(part)) {
      throw new KilnError("CONFLICT", `sandboxes of ${name} are there`, { hint: "kill them first: kiln ls" });
    }
    if (part !== undefined && byProcesses.has(dirname(part))) {
      throw new KilnError("CONFLICT", `a build or another command uses what was built from ${name}`, {
        hint: "wait for its end: kiln build ls",
      });
    }
    await removeBuilt(home, spec);
  });
  const entry = (await listTemplates(home)).find((candidate) => candidate.name === name);
  if (entry?.source === "user") await removeTemplate(home, name);
}
