/** What a new spec is to say; what is left out stays as a comment. */
export interface NewSpec {
  name: string;
  from?: string;
  packages?: readonly string[];
  tools?: readonly string[];
  commands?: readonly string[];
  checks?: readonly string[];
  user?: string;
  vcpu?: number;
  memoryMib?: number;
}

/** The text of a spec with every field a person may want, and a word on each: JSON with comments. */
export function commentedSpec(spec: NewSpec): string {
  const { name, from, packages = [], tools = [], commands = [], checks = [], user, vcpu, memoryMib } = spec;
  return `// A Kiln template. Build it with: kiln template build ${name}.jsonc; then: kiln run ${name}
// docs/templates.md describes every field.
{
  "name": ${JSON.stringify(name)},

  // A template to start from, whose steps are shared; or an image, such as "docker.io/library/debian:bookworm-slim".
${
  from === undefined
    ? '  "base_image": "docker.io/library/debian:bookworm-slim",'
    : `  "from": ${JSON.stringify(from)},`
}

  // Debian packages, each optionally as name=version.
  "apt_packages": ${list(packages)},

  // What Kiln installs from whatever source is in reach: "node@22", "uv", "rust".
  "tools": ${list(tools)},

  // Run by /bin/sh as root, one after the other; a change runs the changed one and those behind it again.
  "setup_commands": ${list(commands)},

  // Variables of everything that runs in a sandbox.
  "env": {},

  // Commands that must succeed in the built machine. What they touch is in memory in every sandbox from its start.
  "checks": ${list(checks)},

${optional("user", user, "root", from)}
${optional("vcpu", vcpu, 2, from)}
${optional("memory_mib", memoryMib, 512, from)}
${optional("disk_mib", undefined, 8192, from)}
}
`;
}

function list(items: readonly string[]): string {
  if (items.length === 0) return "[]";
  return `[\n${items.map((item) => `    ${JSON.stringify(item)},\n`).join("")}  ]`;
}

/** A field that has a default: a comment where nothing is said and it comes from the template below. */
function optional(field: string, value: unknown, usual: unknown, from: string | undefined): string {
  const line = `${JSON.stringify(field)}: ${JSON.stringify(value ?? usual)},`;
  return value === undefined && from !== undefined
    ? `  // ${line} (left out, it is as in ${from})`
    : `  ${line}`;
}
