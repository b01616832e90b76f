import { renameSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory } from "../../os/atomic-file.ts";
import { BlockMap } from "./block-map.ts";
import { DATA_FILE, MAP_FILE } from "./diff.ts";
import { encodeHeader } from "./diff-header.ts";
import { DATA, ZERO } from "./geometry.ts";

export interface LayerContent {
  /** Size of the device, in bytes; `data` is as long. */
  sizeBytes: number;
  /** 32 hex digits. */
  identity: string;
  /** Identity of the diff directly below, or `NO_PARENT`. */
  parent: string;
  /** Blocks that are in `data`. */
  data: readonly number[];
  /** Blocks that are zero, whatever is below. */
  zeros: readonly number[];
}

/** Where the blocks of a layer have to be written before `finishLayer`. */
export const layerData = (directory: string): string => join(directory, DATA_FILE);

/** Makes a folder, in which `data` is written and on the disk, a sealed diff. The map gets its name last. */
export async function finishLayer(directory: string, content: LayerContent): Promise<void> {
  const { sizeBytes, identity, parent, data, zeros } = content;
  const map = new Uint8Array(BlockMap.byteLength(sizeBytes));
  for (const [blocks, state] of [
    [data, DATA],
    [zeros, ZERO],
  ] as const) {
    for (const block of blocks) map[block >> 2] = (map[block >> 2] ?? 0) | (state << ((block & 3) << 1));
  }
  const unfinished = join(directory, `${MAP_FILE}.new`);
  {
    await using file = await open(unfinished, "wx", 0o600);
    await file.writeFile(encodeHeader({ sizeBytes, identity, parent, sealed: true }));
    await file.writeFile(map);
    await file.datasync();
  }
  renameSync(unfinished, join(directory, MAP_FILE));
  await syncDirectory(directory);
}
