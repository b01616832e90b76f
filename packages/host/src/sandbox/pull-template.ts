import { ensureAgent } from "../build/agent.ts";
import { findKernel } from "../build/kernel.ts";
import type { KilnHome } from "../home.ts";
import { ensureWhole } from "../lazy/ensure-whole.ts";
import { FetchClient } from "../lazy/fetch-client.ts";
import { MemoryClient } from "../lazy/memory/memory-client.ts";
import { type OnProgress, runStage } from "../progress.ts";
import { snapshotKey, subjectOf } from "../snapshot/manifest.ts";
import { readStoreConfig } from "../store/config.ts";
import { rootfsKeyOf } from "../store/format/template-manifest.ts";
import { openMissing } from "../store/pull-missing.ts";
import { checksOf } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { knownEngine, openEngine } from "../vmm/engines.ts";
import { findBootable, type Variant } from "./find-bootable.ts";

export interface PullOptions extends Variant {
  onProgress?: OnProgress | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Brings what sandboxes of `spec` start from out of the node's store, as far as it has it and this node can use it. Does nothing when all is here,
 * or the node uses no store. What is large arrives while sandboxes run.
 *
 * @throws KilnError `STORE_UNTRUSTED`, `STORE_DAMAGED`, `USAGE`, `CANCELLED`.
 */
export async function pullTemplate(
  home: KilnHome,
  spec: TemplateSpec,
  options: PullOptions = {},
): Promise<void> {
  const { vcpu = spec.vcpu, memoryMib = spec.memory_mib, engine, onProgress, signal } = options;
  if (!(await readStoreConfig(home))?.lazy) return;
  if (await findBootable(home, spec, { vcpu, memoryMib, engine })) return;
  warmServers(home);
  await using pull = await openMissing(home, spec, signal);
  if (pull === undefined) return;
  await runStage(onProgress, `pull ${spec.name}`, async () => {
    const { manifest } = pull;
    // A program from the store runs on this host only when somebody whom it trusts has signed it.
    if (pull.signed && manifest.agent !== undefined) await pull.installFolders([manifest.agent]);
    await pull.installKernel();
    const kernel = await findKernel(home);
    if (!kernel) return;
    const guestAgent = async () =>
      (await ensureAgent(home, { ...(onProgress && { onProgress }), ...(signal && { signal }) })).path;
    const context = { probeFile: home.probe, kernel, guestAgent, signal };
    if (!(await knownEngine(engine, context))) await ensureWhole([kernel.vmlinuz, kernel.initrd]);
    const vmm = await openEngine(engine, context);
    const rootfs = { key: rootfsKeyOf(manifest) };
    const subject = subjectOf(rootfs, kernel, vmm, { vcpu, memoryMib }, checksOf(spec));
    const wanted = `snapshots/${snapshotKey(subject)}`;
    const snapshots = manifest.snapshots.filter((name) => name === wanted);
    await pull.installFolders([manifest.disk.base, ...manifest.disk.layers, ...snapshots]);
    await pull.begin();
  });
}

/** Has the fetcher and the memory server started while the store is asked what there is to fetch. */
function warmServers({ root }: KilnHome): void {
  const [fetcher, memory] = [new FetchClient(root), new MemoryClient(root)];
  void Promise.allSettled([fetcher.status(), memory.start()]).then(() => {
    fetcher[Symbol.dispose]();
    memory[Symbol.dispose]();
  });
}
