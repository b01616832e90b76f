import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KilnError } from "../errors.ts";
import { type Lock, lockedVersion } from "./lock.ts";
import type { Sources } from "./sources.ts";

/** The scripts that install tools, one for each source; builds see them below /run/kiln/tools. */
export const TOOL_SCRIPTS = join(import.meta.dirname, "tools");

export type ToolName = "node" | "uv" | "rust";

/** `name` or `name@version`. Node.js: a major version or an exact one; uv: an exact one; Rust: `stable` or a version. */
export const TOOL =
  /^(?:node(?:@[0-9]{1,3}(?:\.[0-9]{1,3}\.[0-9]{1,3})?)?|uv(?:@[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4})?|rust(?:@(?:stable|[0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?))?)$/;

/** What a tool is when nobody says which version. */
const DEFAULT_VERSION: Record<ToolName, string> = { node: "22", uv: "latest", rust: "stable" };

interface Recipe {
  /** Debian packages that it consists of, or that the script needs. */
  packages: readonly string[];
  /** File in `tools/`; it is given the version. A recipe without one is all packages. */
  script?: string;
  /** Variables that the tool needs where it is used. */
  env?: Readonly<Record<string, string>>;
}

const DOWNLOAD = ["ca-certificates", "curl"];

const RECIPES: { [Name in ToolName]: Record<Sources[Name], Recipe> } = {
  node: {
    "nodejs.org": { packages: DOWNLOAD, script: "node-from-nodejs.org.sh" },
    npm: { packages: DOWNLOAD, script: "node-from-npm.sh" },
  },
  uv: {
    "astral.sh": { packages: DOWNLOAD, script: "uv-from-astral.sh" },
    pypi: { packages: ["ca-certificates", "python3-pip"], script: "uv-from-pypi.sh" },
  },
  rust: {
    rustup: {
      packages: [...DOWNLOAD, "gcc", "libc6-dev"],
      script: "rust-from-rustup.sh",
      env: { RUSTUP_HOME: "/usr/local/rustup" },
    },
    debian: { packages: ["cargo", "rustc", "rust-clippy", "rustfmt"] },
  },
};

/** One tool of a spec, and how it is installed from the source that was chosen for it. */
export interface Tool extends Recipe {
  name: ToolName;
  version: string;
  source: string;
  /** Words the script is given: the version first. */
  arguments: string[];
}

/** Name and version of `node@22`. */
export function splitTool(tool: string): { name: ToolName; version: string } {
  const [name = "", version] = tool.split("@");
  return { name: name as ToolName, version: version ?? DEFAULT_VERSION[name as ToolName] };
}

/**
 * How the tools of a spec are installed.
 * @throws KilnError `BUILD_FAILED` for a version that the source does not have.
 */
export function planTools(tools: readonly string[], sources: Sources, lock?: Lock): Tool[] {
  return tools.map((tool) => {
    const { name, version: wanted } = splitTool(tool);
    const source = sources[name];
    const locked = lock && (lockedVersion(lock, "tool", name) ?? lockedVersion(lock, "pypi", name));
    const version = locked ?? wanted;
    if (name === "rust" && source === "debian" && wanted !== "stable") {
      throw new KilnError(
        "BUILD_FAILED",
        `${tool} is to be had from rustup only, and rustup is not used here`,
        {
          hint: 'write "rust" for the version that Debian has, or choose "rust": "rustup" among the sources (docs/templates.md)',
        },
      );
    }
    const npm = lock && name === "node" ? lockedVersion(lock, "npm", "npm") : undefined;
    const words = [version, ...(npm === undefined ? [] : [npm])];
    return { name, version, source, arguments: words, ...recipeOf(name, source) };
  });
}

function recipeOf(name: ToolName, source: string): Recipe {
  const recipe = (RECIPES[name] as Record<string, Recipe>)[source];
  if (recipe === undefined) throw new KilnError("INTERNAL", `no recipe for ${name} from ${source}`);
  return recipe;
}

const digests = new Map<string, string>();

/** The beginning of a script's SHA-256: in the step's text it makes a cached step stale when the script changes. */
export function scriptDigest(script: string): string {
  let digest = digests.get(script);
  if (digest === undefined) {
    // Read once a process, and only for specs that name tools.
    digest = createHash("sha256")
      .update(readFileSync(join(TOOL_SCRIPTS, script)))
      .digest("hex")
      .slice(0, 12);
    digests.set(script, digest);
  }
  return digest;
}
