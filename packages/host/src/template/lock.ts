import { z } from "zod";

const MAX_PACKAGES = 20_000;
const words = (pattern: RegExp) =>
  z
    .array(z.string().max(600, { abort: true }).regex(pattern))
    .max(MAX_PACKAGES)
    .default([]);

/** What a template was made of, for a build that is to be made of the same. Every list is in its own tool's words. */
export const lockSchema = z
  .strictObject({
    version: z.literal(1),
    /** The template that it was taken from. */
    template: z.string().max(63),
    /** When that was built: npm takes no version that is younger, and no file is. */
    built_at: z.iso.datetime(),
    /** Digest of the base image where it has one, for the record. */
    base_digest: z.string().max(200).nullable().default(null),
    /** `curl=7.88.1-10`, or `libc6:i386=2.36-9`. */
    deb: words(/^[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?=[0-9][A-Za-z0-9.+:~-]*$/),
    /** `@anthropic-ai/claude-code@2.1.0` */
    npm: words(/^@?[A-Za-z0-9._~/-]+@[A-Za-z0-9.+-]+$/),
    /** `numpy==2.4.6` */
    pypi: words(/^[a-z0-9-]+==[A-Za-z0-9.+!_-]+$/),
    /** `node@22.23.3` */
    tool: words(/^[a-z]+@[A-Za-z0-9.+-]+$/),
  })
  .meta({ description: "Versions that a build has to be made of: what kiln template lock prints." });

export type Lock = z.output<typeof lockSchema>;

/** Seconds since 1970 at which the build was that the lock is of. */
export const lockSeconds = (lock: Lock): number => Math.floor(Date.parse(lock.built_at) / 1000);

/** The Debian packages to install, those of the lock among them in its versions. */
export function lockedPackages(packages: readonly string[], lock: Lock): string[] {
  const locked = new Set(lock.deb.map((word) => word.split("=")[0]));
  return [...lock.deb, ...packages.filter((word) => !locked.has(word.split("=")[0]))].sort();
}

/** The version of a tool, of its package by the same name, or of an npm package, in the lock. */
export function lockedVersion(lock: Lock, list: "tool" | "pypi" | "npm", name: string): string | undefined {
  const separator = list === "pypi" ? "==" : "@";
  const prefix = `${name}${separator}`;
  return lock[list].find((word) => word.startsWith(prefix))?.slice(prefix.length);
}
