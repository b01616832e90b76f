import type { KilnHome } from "@kiln/host/home.ts";
import type { TemplateSpec } from "@kiln/host/template/spec.ts";
import { specHash } from "@kiln/host/template/spec-hash.ts";
import { resolveTemplate, saveTemplate } from "@kiln/host/template/templates.ts";
import { KilnError } from "@kiln/sdk/errors.ts";

/**
 * Makes a template that was pulled known by its name, and those it starts from where there are none of that name.
 * @throws KilnError `CONFLICT` when one that it starts from is another one here: that is somebody's, and stays.
 */
export async function adoptSpec(home: KilnHome, spec: TemplateSpec): Promise<void> {
  if (spec.parent !== undefined) await adoptParent(home, spec.parent, spec.name);
  const known = await resolveTemplate(home, spec.name).catch(() => undefined);
  if (known === undefined || specHash(known) !== specHash(spec)) await saveTemplate(home, spec);
}

async function adoptParent(home: KilnHome, parent: TemplateSpec, heir: string): Promise<void> {
  const known = await resolveTemplate(home, parent.name).catch(() => undefined);
  if (known === undefined) return adoptSpec(home, parent);
  if (specHash(known) === specHash(parent)) return;
  throw new KilnError("CONFLICT", `${heir} starts from ${parent.name}, and that is another template here`, {
    hint: `pull ${parent.name} from the store first, or give yours another name`,
  });
}
