import type { KilnHome } from "../../home.ts";
import { writeFileAtomic } from "../../os/atomic-file.ts";
import { lockFile } from "../../os/file-lock.ts";
import { type OnProgress, runStage } from "../../progress.ts";
import { SOURCE_NAMES, SOURCE_PROFILES, type Sources } from "../../template/sources.ts";
import { configuredSources, type FoundSources, knownSources } from "./known-sources.ts";

/**
 * The sources that builds take here: as the configuration says, else as was found out before, else as is found out
 * now, with a notice, and remembered in probes/sources.json.
 *
 * @throws KilnError `USAGE` for a configuration that cannot be understood, `CANCELLED`.
 */
export async function ensureSources(
  home: KilnHome,
  options: { onProgress?: OnProgress | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Sources> {
  const known = await knownSources(home);
  if (known) return known;
  await using _lock = await lockFile(home.lock("sources"), options.signal);
  const meanwhile = await knownSources(home);
  if (meanwhile) return meanwhile;
  return runStage(options.onProgress, "sources", async (update) => {
    update("looking which ones are in reach");
    const { findRefused } = await import("./find-refused.ts");
    const refused = await findRefused(home, options.signal);
    for (const [name, reason] of Object.entries(refused)) update(notice(name as keyof Sources, reason));
    const choice = (name: keyof Sources) => SOURCE_PROFILES[name in refused ? "packages" : "upstream"][name];
    const found = {
      version: 1,
      found_at: new Date().toISOString(),
      sources: Object.fromEntries(SOURCE_NAMES.map((name) => [name, choice(name)])) as Sources,
      refused,
    } satisfies FoundSources;
    await writeFileAtomic(home.probe("sources"), `${JSON.stringify(found, undefined, 2)}\n`);
    return { ...found.sources, ...(await configuredSources(home)) };
  });
}

/** What is taken instead, and why. */
function notice(name: keyof Sources, reason: string): string {
  const instead = {
    debian_image: "Debian images are made of packages from Debian's archive",
    node: "Node.js comes from npm",
    uv: "uv comes from PyPI",
    rust: "Rust comes from Debian, whose version is older",
  } satisfies Record<keyof Sources, string>;
  return `${instead[name]}: ${reason}`;
}
