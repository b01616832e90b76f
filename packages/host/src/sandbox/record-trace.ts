import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KilnHome } from "../home.ts";
import { FetchClient } from "../lazy/fetch-client.ts";
import { MemoryClient } from "../lazy/memory/memory-client.ts";
import { openOwnedFolder } from "../os/owned-folder.ts";
import { warmUp } from "../snapshot/warm-up.ts";
import type { StoreConfig } from "../store/config.ts";
import { Pull } from "../store/pull.ts";
import { checksOf } from "../template/lineage.ts";
import type { TemplateSpec } from "../template/spec.ts";
import { findBootable } from "./find-bootable.ts";
import { SandboxHost } from "./sandbox-host.ts";

/**
 * Starts a sandbox of a version that was just pushed as a node would that has never seen it, and so leaves its trace in the store: the
 * first start anywhere fetches ahead along it. A start is a guest resumed, a shell, and the first of the template's checks; with all of
 * them the trace would be most of the image.
 *
 * @returns whether there was anything to start: a node that has built only other sizes has not.
 * @throws KilnError as a start does; what was pushed is there all the same.
 */
export async function recordTrace(
  home: KilnHome,
  config: StoreConfig,
  version: { spec: TemplateSpec; digest: string },
  signal?: AbortSignal,
): Promise<boolean> {
  const { spec, digest } = version;
  await using scratch = await openOwnedFolder(home.tmp);
  const node = new KilnHome(scratch.path);
  // What this host is, and all that is not the template's own, is as it is here.
  for (const name of ["artifacts", "probes"]) await symlink(join(home.root, name), join(node.root, name));
  const known = JSON.parse(await readFile(join(home.root, "config.json"), "utf8").catch(() => "{}"));
  const own = { ...known, store: { ...config, lazy: false, cache_mib: 0 } };
  await writeFile(join(node.root, "config.json"), JSON.stringify(own));
  await using pull = await Pull.open(node, config, { name: spec.name, digest }, { signal });
  using fetcher = new FetchClient(node.root);
  using memory = new MemoryClient(node.root);
  try {
    const { disk, snapshots } = pull.manifest;
    await pull.installFolders([disk.base, ...disk.layers, ...snapshots]);
    const bootable = await findBootable(node, spec);
    if (bootable === undefined) return false;
    {
      await using host = await SandboxHost.open(home);
      await using sandbox = await host.start(bootable, signal);
      await warmUp(sandbox.agent, checksOf(spec).slice(0, 1), () => undefined, signal);
    }
    await memory.stop();
    await fetcher.stop(); // It keeps what was touched.
    await pull.gatherStarts();
    return true;
  } finally {
    await memory.stop();
    await fetcher.stop();
    await pull.forgo();
  }
}
