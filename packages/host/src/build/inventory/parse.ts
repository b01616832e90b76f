import type { Package } from "./package.ts";

/** What is longer is no name and no version. */
const MAX_NAME = 256;

/** `text` if it can be a name or a version: printable, not empty, of a sensible length. */
function word(text: unknown): string | undefined {
  if (typeof text !== "string" || text === "" || text.length > MAX_NAME) return undefined;
  return /[\p{C}\s]/u.test(text) ? undefined : text;
}

function make(type: Package["type"], name: unknown, version: unknown, rest: Partial<Package>): Package[] {
  const [goodName, goodVersion] = [word(name), word(version)];
  if (goodName === undefined || goodVersion === undefined) return [];
  return [{ type, name: goodName, version: goodVersion, ...rest }];
}

/** The installed packages that dpkg's status file lists. */
export function parseDpkgStatus(text: string): Package[] {
  return text.split(/\n\n+/).flatMap((stanza) => {
    const fields = readFields(stanza);
    if (!/ installed$/.test(fields.get("status") ?? "")) return [];
    const arch = word(fields.get("architecture"));
    return make("deb", fields.get("package"), fields.get("version"), arch === undefined ? {} : { arch });
  });
}

/** The package that a `package.json` in a folder of `node_modules` describes. */
export function parsePackageJson(text: string, path: string): Package[] {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return [];
  }
  if (typeof content !== "object" || content === null) return [];
  const { name, version } = content as Record<string, unknown>;
  return make("npm", name, version, { path });
}

/** The package that `METADATA` or `PKG-INFO` of an installed Python package describes. */
export function parsePythonMetadata(text: string, path: string): Package[] {
  const fields = readFields(text.split(/\r?\n\r?\n/, 1)[0] ?? "");
  const name = fields.get("name");
  // As PEP 503 has it, so that one package has one name.
  return make("pypi", name?.toLowerCase().replaceAll(/[-_.]+/g, "-"), fields.get("version"), { path });
}

/** The version that one of Kiln's scripts wrote down. */
export function parseToolVersion(text: string, name: string): Package[] {
  return make("tool", name, text.trim(), {});
}

/** `ID` and `VERSION_CODENAME` of os-release. */
export function parseOsRelease(text: string): Distribution | undefined {
  const value = (name: string) => word(new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(text)?.[1]);
  const [id, codename] = [value("ID"), value("VERSION_CODENAME")];
  return id === undefined ? undefined : { id, ...(codename === undefined ? {} : { codename }) };
}

/** What an image is a version of: `debian`, `bookworm`. */
export interface Distribution {
  id: string;
  codename?: string | undefined;
}

/** Fields of one stanza, names in lower case; the first line of each. The first of a name counts. */
function readFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of stanza.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0 || /^\s/.test(line)) continue;
    const name = line.slice(0, colon).toLowerCase();
    if (!fields.has(name)) fields.set(name, line.slice(colon + 1).trim());
  }
  return fields;
}
