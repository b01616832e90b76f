import { z } from "zod";

export const PACKAGE_TYPES = ["deb", "npm", "pypi", "tool"] as const;

export const packageSchema = z.strictObject({
  /** `tool`: something that Kiln installed and that is no package. */
  type: z.enum(PACKAGE_TYPES),
  name: z.string(),
  version: z.string(),
  /** Of a Debian package. */
  arch: z.string().optional(),
  /** Folder that an npm or Python package is in. The same package may be in several. */
  path: z.string().optional(),
});

/** A package that is installed in an image. Names and versions are what the image says: text from outside. */
export type Package = z.infer<typeof packageSchema>;

/** By type, name, version and place. */
export function comparePackages(a: Package, b: Package): number {
  for (const field of ["type", "name", "version", "arch", "path"] as const) {
    const [left = "", right = ""] = [a[field], b[field]];
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}
