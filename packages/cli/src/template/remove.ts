import { openClient } from "../client.ts";
import { printJson } from "../output/table.ts";
import { isSpecFile, readSpecFile } from "./template-name.ts";

/** Removes what was built from templates and, for templates of the user's own, the template itself. */
export async function remove(refs: readonly string[], json: boolean): Promise<void> {
  const client = openClient();
  const removed = [];
  for (const ref of refs) {
    const { name } = isSpecFile(ref) ? await readSpecFile(ref) : { name: ref };
    const { source, built } = await client.templates.get(name);
    await client.templates.remove(name);
    removed.push({ name, source, built });
    if (json) continue;
    const gone = [
      ...(source === "built-in" ? [] : ["the template"]),
      ...(built ? ["what was built from it alone"] : []),
    ];
    process.stdout.write(`${name}: removed ${gone.join(" and ") || "nothing, as nothing was built"}\n`);
  }
  if (json) printJson(removed);
}
