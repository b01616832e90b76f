import { builtRootfs } from "@kiln/host/build/built-rootfs.ts";
import { makeLock } from "@kiln/host/build/inventory/lock.ts";
import { readPackages } from "@kiln/host/build/inventory/packages-file.ts";
import { makeSbom } from "@kiln/host/build/inventory/sbom.ts";
import { findKernel } from "@kiln/host/build/kernel.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { printJson } from "../output/table.ts";

/** Prints the bill of materials of a built template. */
export async function sbom(ref: string): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const { record, key, spec } = await builtRootfs(home, ref);
  const packages = await readPackages(home, key);
  const kernel = (await findKernel(home))?.version;
  process.stdout.write(makeSbom({ name: spec.name, record, packages, kernel }));
}

/** Prints the versions that a built template is made of, for `kiln template build --locked`. */
export async function lock(ref: string): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const { record, key, spec } = await builtRootfs(home, ref);
  printJson(makeLock(spec.name, record, (await readPackages(home, key)).packages));
}
