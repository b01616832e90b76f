import { z } from "zod";

/** Where each thing that Kiln can install is taken from: as its makers give it out first, as a package registry has it second. */
const CHOICES = {
  /** An official Debian image: from the registry that its name says, or made of packages from Debian's archive. */
  debian_image: ["registry", "debian"],
  node: ["nodejs.org", "npm"],
  uv: ["astral.sh", "pypi"],
  rust: ["rustup", "debian"],
} as const;

export type SourceName = keyof typeof CHOICES;
export const SOURCE_NAMES = Object.keys(CHOICES) as SourceName[];

const choiceSchema = z.strictObject({
  debian_image: z.enum(CHOICES.debian_image),
  node: z.enum(CHOICES.node),
  uv: z.enum(CHOICES.uv),
  rust: z.enum(CHOICES.rust),
});

/** A source for each thing. */
export type Sources = z.infer<typeof choiceSchema>;
export const sourcesSchema = choiceSchema;

/** Sources by the name of a profile. */
export const SOURCE_PROFILES = {
  /** Everything as its makers give it out. */
  upstream: { debian_image: "registry", node: "nodejs.org", uv: "astral.sh", rust: "rustup" },
  /** Nothing but package registries: Debian's archive, npm and PyPI. */
  packages: { debian_image: "debian", node: "npm", uv: "pypi", rust: "debian" },
} as const satisfies Record<string, Sources>;

/**
 * `sources` in `$KILN_HOME/config.json`: a profile's name, some sources with the others found out, or `"auto"`, which
 * finds all of them out.
 */
export const sourcesConfigSchema = z.union([
  z.literal("auto"),
  z.enum(Object.keys(SOURCE_PROFILES) as (keyof typeof SOURCE_PROFILES)[]),
  choiceSchema.partial(),
]);
export type SourcesConfig = z.infer<typeof sourcesConfigSchema>;
