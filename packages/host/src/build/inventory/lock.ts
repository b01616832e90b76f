import { KilnError } from "../../errors.ts";
import { type Lock, lockSchema } from "../../template/lock.ts";
import type { RootfsRecord } from "../rootfs-record.ts";
import type { Package } from "./package.ts";

/** Architectures whose packages need no suffix: the only one that Kiln runs on, and "any". */
const NATIVE = ["amd64", "all"];

/** The lock of what was built. */
export function makeLock(template: string, record: RootfsRecord, packages: readonly Package[]): Lock {
  return lockSchema.parse({
    version: 1,
    template,
    built_at: record.built_at,
    base_digest: record.base.digest,
    ...lists(packages),
  });
}

function lists(packages: readonly Package[]): Pick<Lock, Package["type"]> {
  const of = (type: Package["type"], word: (entry: Package) => string) => [
    ...new Set(packages.filter((entry) => entry.type === type).map(word)),
  ];
  const suffix = ({ arch }: Package) => (arch === undefined || NATIVE.includes(arch) ? "" : `:${arch}`);
  return {
    deb: of("deb", (entry) => `${entry.name}${suffix(entry)}=${entry.version}`),
    npm: of("npm", ({ name, version }) => `${name}@${version}`),
    pypi: of("pypi", ({ name, version }) => `${name}==${version}`),
    tool: of("tool", ({ name, version }) => `${name}@${version}`),
  };
}

/**
 * @throws KilnError `BUILD_FAILED` when an image is not made of just what its lock says, naming what is missing and what
 * is there instead.
 */
export function checkLock(lock: Lock, packages: readonly Package[]): void {
  const found = lists(packages);
  const types = ["deb", "npm", "pypi", "tool"] as const;
  const missing = types.flatMap((type) => lock[type].filter((word) => !found[type].includes(word)));
  const others = types.flatMap((type) => found[type].filter((word) => !lock[type].includes(word)));
  if (missing.length + others.length > 0) throw notToBeHad(missing, others);
}

/** The packages that apt says it cannot find in the version of the lock. */
export function missingFromApt(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const match = /^E: Version '([^']+)' for '([^']+)' was not found/.exec(line);
    return match ? [`${match[2]}=${match[1]}`] : [];
  });
}

const SHOWN = 20;
export function notToBeHad(
  missing: readonly string[],
  others: readonly string[],
  cause?: unknown,
): KilnError {
  const show = (words: readonly string[]) =>
    words.slice(0, SHOWN).join(", ") + (words.length > SHOWN ? `, and ${words.length - SHOWN} more` : "");
  const instead = others.length === 0 ? "" : `; instead there would be ${show(others)}`;
  return new KilnError(
    "BUILD_FAILED",
    missing.length === 0
      ? `the build has what its lock does not: ${show(others)}`
      : `these versions are no longer to be had: ${show(missing)}${instead}`,
    {
      hint: "build without --locked, and lock what that gives; archives with old versions can be named in a setup command",
      details: { missing, others },
      cause,
    },
  );
}
