import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { KilnError } from "../../errors.ts";
import type { KilnHome } from "../../home.ts";
import { packageSchema } from "./package.ts";

export const PACKAGES_FILE = "packages.json";

const fileSchema = z.strictObject({
  version: z.literal(1),
  distribution: z.strictObject({ id: z.string(), codename: z.string().optional() }).nullable(),
  packages: z.array(packageSchema),
});
/** Content of rootfs/<key>/packages.json: every package that is in the image. */
export type PackagesFile = z.output<typeof fileSchema>;

/** @throws KilnError `INTERNAL` when the file is missing or damaged: it is published with the rootfs. */
export async function readPackages(home: KilnHome, rootfsKey: string): Promise<PackagesFile> {
  const path = join(home.rootfs(rootfsKey), PACKAGES_FILE);
  try {
    return fileSchema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (cause) {
    throw new KilnError("INTERNAL", `${path} cannot be read`, {
      hint: "remove the template with kiln template rm, and build it again",
      cause,
    });
  }
}
