import { findKernel } from "../build/kernel.ts";
import { findRootfs } from "../build/rootfs.ts";
import type { KilnHome } from "../home.ts";
import { findSnapshot, subjectOf } from "../snapshot/manifest.ts";
import { checksOf } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { type EngineName, knownEngine } from "../vmm/engines.ts";
import type { Bootable } from "./sandbox.ts";
import { markUsed } from "./variants.ts";

/** In what form a template is wanted; what is left out is as the template, or the host, has it. */
export interface Variant {
  vcpu?: number | undefined;
  memoryMib?: number | undefined;
  engine?: EngineName | undefined;
}

/**
 * What sandboxes of `spec` in this form start from, or undefined when any of it has to be built first. Builds nothing.
 *
 * Every create asks. The records that answer are small and most likely in memory, so they are read at once: by way of the thread pool
 * each takes ten times as long.
 */
export async function findBootable(
  home: KilnHome,
  spec: TemplateSpec,
  variant: Variant = {},
): Promise<Bootable | undefined> {
  const [kernel, rootfs] = await Promise.all([findKernel(home), findRootfs(home, spec)]);
  if (!kernel || !rootfs) return undefined;
  const { vcpu = spec.vcpu, memoryMib = spec.memory_mib, engine } = variant;
  const vmm = await knownEngine(engine, { probeFile: home.probe, kernel });
  if (!vmm) return undefined;
  const snapshot = findSnapshot(home, subjectOf(rootfs, kernel, vmm, { vcpu, memoryMib }, checksOf(spec)));
  if (!snapshot) return undefined;
  void markUsed(home, snapshot.manifest.key);
  return { vmm, rootfs, kernel, snapshot };
}
