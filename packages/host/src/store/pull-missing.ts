import { rootfsKey } from "../build/rootfs.ts";
import { ensureSources } from "../build/sources/ensure-sources.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { readStoreConfig } from "./config.ts";
import { rootfsKeyOf } from "./format/template-manifest.ts";
import { Pull } from "./pull.ts";

/** A start does not wait long for a store: it can build as well. In milliseconds. */
const PATIENCE_MS = 5_000;

/**
 * Opens the version of `spec` that the node's store has, or gives undefined when the node has no store, or that has no such version:
 * of another spec, or pushed by another version of Kiln.
 * @throws KilnError `STORE_UNTRUSTED`, `STORE_DAMAGED`, `USAGE`.
 */
export async function openMissing(
  home: KilnHome,
  spec: TemplateSpec,
  signal?: AbortSignal,
): Promise<Pull | undefined> {
  const config = await readStoreConfig(home);
  if (config === undefined || !config.lazy) return undefined;
  try {
    const reference = { name: spec.name, digest: undefined };
    const pull = await Pull.open(home, config, reference, { signal, patienceMs: PATIENCE_MS });
    await ensureSources(home, signal === undefined ? {} : { signal });
    if (rootfsKeyOf(pull.manifest) === (await rootfsKey(home, spec))) return pull;
    await pull[Symbol.asyncDispose]();
  } catch (error) {
    const build =
      error instanceof KilnError && ["TEMPLATE_NOT_FOUND", "STORE_UNAVAILABLE"].includes(error.code);
    if (!build) throw error;
  }
  return undefined;
}
