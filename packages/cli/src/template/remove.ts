import { KilnHome } from "@kiln/host/home.ts";
import { removeBuilt } from "@kiln/host/sandbox/built-template.ts";
import { listTemplates, removeTemplate, resolveTemplate } from "@kiln/host/template/templates.ts";
import { printJson } from "../output/table.ts";

/** Removes what was built from templates and, for templates of the user's own, the template itself. */
export async function remove(refs: readonly string[], json: boolean): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const results = [];
  for (const ref of refs) {
    const spec = await resolveTemplate(home, ref);
    const built = await removeBuilt(home, spec);
    const own = (await listTemplates(home)).some(({ name, source }) => name === ref && source === "user");
    if (own) await removeTemplate(home, ref);
    results.push({ name: spec.name, template: own, ...built });
  }
  if (json) {
    printJson(results);
    return;
  }
  for (const { name, template, rootfs, snapshots, sharedWith } of results) {
    const gone = [
      ...(template ? ["the template"] : []),
      ...(rootfs === undefined ? [] : ["its root file system"]),
      ...(snapshots.length === 0 ? [] : [`${snapshots.length} snapshot${snapshots.length === 1 ? "" : "s"}`]),
    ];
    const kept = sharedWith.length === 0 ? "" : `; what was built stays for ${sharedWith.join(", ")}`;
    process.stdout.write(`${name}: removed ${gone.join(", ") || "nothing, as nothing was built"}${kept}\n`);
  }
}
