import { builtRootfs } from "@kiln/host/build/built-rootfs.ts";
import { readPackages } from "@kiln/host/build/inventory/packages-file.ts";
import { makeSbom } from "@kiln/host/build/inventory/sbom.ts";
import { findKernel } from "@kiln/host/build/kernel.ts";
import { KilnHome } from "@kiln/host/home.ts";

/** Prints the bill of materials of a built template. */
export async function sbom(ref: string): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const { record, key, spec } = await builtRootfs(home, ref);
  const packages = await readPackages(home, key);
  const kernel = (await findKernel(home))?.version;
  process.stdout.write(makeSbom({ name: spec.name, record, packages, kernel }));
}
