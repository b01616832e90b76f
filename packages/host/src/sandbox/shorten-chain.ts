import { rm } from "node:fs/promises";
import { join } from "node:path";
import { mergeLayers } from "../block/disk/merge.ts";
import type { KilnHome } from "../home.ts";
import { isLayer, newLayer } from "./storage.ts";

/** Layers of its own a sandbox may have; one more, and they become one. */
const MAX_OWN_LAYERS = 8;

/**
 * The chain of a sandbox's layers (names below KILN_HOME, lowest first), with those that are not its template's merged
 * when there are many: the same list where there are few. What was merged stays for whoever else needs it.
 */
export async function shortenChain(home: KilnHome, layers: string[]): Promise<string[]> {
  const own = layers.slice(layers.findLastIndex((layer) => !isLayer(layer)) + 1);
  if (own.length <= MAX_OWN_LAYERS) return layers;
  const merged = newLayer();
  const target = join(home.root, merged);
  try {
    await mergeLayers(
      own.map((layer) => join(home.root, layer)),
      target,
    );
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    throw error;
  }
  return [...layers.slice(0, -own.length), merged];
}
