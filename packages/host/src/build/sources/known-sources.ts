import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { KilnError, systemErrorCode } from "../../errors.ts";
import type { KilnHome } from "../../home.ts";
import {
  SOURCE_NAMES,
  SOURCE_PROFILES,
  type Sources,
  sourcesConfigSchema,
  sourcesSchema,
} from "../../template/sources.ts";

const configSchema = z.looseObject({ sources: sourcesConfigSchema.default("auto") });

const foundSchema = z.strictObject({
  version: z.literal(1),
  found_at: z.iso.datetime(),
  sources: sourcesSchema,
  /** Why it is not the makers' own, by source. */
  refused: z.record(z.string(), z.string()),
});
/** Content of probes/sources.json: what was in reach when it was asked for. */
export type FoundSources = z.infer<typeof foundSchema>;

/**
 * What `sources` in `$KILN_HOME/config.json` says of some or all sources.
 * @throws KilnError `USAGE` when that cannot be understood.
 */
export async function configuredSources(home: KilnHome): Promise<Partial<Sources>> {
  const path = join(home.root, "config.json");
  let content: unknown = {};
  try {
    content = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw wrong(path, "is not JSON", error);
  }
  const parsed = configSchema.safeParse(content);
  if (!parsed.success) throw wrong(path, `has no "sources" that Kiln knows`, parsed.error);
  const { sources } = parsed.data;
  if (sources === "auto") return {};
  if (typeof sources === "string") return SOURCE_PROFILES[sources];
  const given = Object.entries(sources).filter(([, choice]) => choice !== undefined);
  return Object.fromEntries(given) as Partial<Sources>;
}

function wrong(path: string, what: string, cause: unknown): KilnError {
  return new KilnError("USAGE", `${path} ${what}`, {
    hint: `"sources" is "auto", ${Object.keys(SOURCE_PROFILES)
      .map((name) => JSON.stringify(name))
      .join(", ")}, or an object with some of ${SOURCE_NAMES.join(", ")}: see docs/templates.md`,
    cause,
  });
}

/** What was found out before, or undefined. */
export async function readFoundSources(home: KilnHome): Promise<FoundSources | undefined> {
  try {
    return foundSchema.parse(JSON.parse(readFileSync(home.probe("sources"), "utf8")));
  } catch {
    return undefined; // Missing, or of another version of Kiln: found out again.
  }
}

/** The sources that builds take here, or undefined while they have to be found out. */
export async function knownSources(home: KilnHome): Promise<Sources | undefined> {
  const configured = await configuredSources(home);
  const complete = sourcesSchema.safeParse(configured);
  if (complete.success) return complete.data;
  const found = await readFoundSources(home);
  return found && { ...found.sources, ...configured };
}
