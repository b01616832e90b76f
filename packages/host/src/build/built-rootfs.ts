import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { resolveTemplate } from "../template/templates.ts";
import { findRootfs, type Rootfs } from "./rootfs.ts";

/**
 * The rootfs of the template `ref` as it was built last. Builds nothing.
 * @throws KilnError `NOT_FOUND` when it is not built, and what `resolveTemplate` throws.
 */
export async function builtRootfs(home: KilnHome, ref: string): Promise<Rootfs> {
  const rootfs = await findRootfs(home, await resolveTemplate(home, ref));
  if (rootfs) return rootfs;
  throw new KilnError("NOT_FOUND", `the template ${ref} is not built`, {
    hint: `kiln template build ${ref}`,
  });
}
