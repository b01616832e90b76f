import type { AddDiskOptions } from "./block-server.ts";
import type { DiskOptions } from "./control-protocol.ts";

/** Whether a disk a server has is the one that `wanted` describes. */
export function sameDisk(present: DiskOptions, wanted: AddDiskOptions): boolean {
  const { id, base, diff, durability = "process", layers = [], exportName = present.exportName } = wanted;
  return (
    present.id === id &&
    present.base === base &&
    present.diff === diff &&
    present.durability === durability &&
    present.sizeBytes === wanted.sizeBytes &&
    present.maxDiffBytes === wanted.maxDiffBytes &&
    present.exportName === exportName &&
    present.layers.length === layers.length &&
    present.layers.every((layer, index) => layer === layers[index])
  );
}
