import { findAgent } from "../build/agent.ts";
import { findKernel } from "../build/kernel.ts";
import { findRootfs } from "../build/rootfs.ts";
import { estimateSpace, type SpaceEstimate } from "../build/space-estimate.ts";
import type { KilnHome } from "../home.ts";
import { parentOf } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";

/** What building `spec`, as far as it is not built, may take on the disk. */
export async function spaceFor(
  home: KilnHome,
  spec: TemplateSpec,
  memoryMib: number,
): Promise<SpaceEstimate> {
  const [kernel, agent] = await Promise.all([findKernel(home), findAgent(home)]);
  const unbuilt: TemplateSpec[] = [];
  let belowMib: number | undefined;
  for (let of: TemplateSpec | undefined = spec; of !== undefined; of = parentOf(of)) {
    const rootfs = await findRootfs(home, of);
    if (rootfs) {
      belowMib = Math.ceil(rootfs.record.used_bytes / (1024 * 1024));
      break;
    }
    unbuilt.unshift(of);
  }
  return estimateSpace({
    hasShared: kernel !== undefined && agent !== undefined,
    unbuilt,
    belowMib,
    memoryMib,
  });
}
