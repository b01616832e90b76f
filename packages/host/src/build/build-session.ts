import type { KilnHome } from "../home.ts";
import { openScratch, sweepScratch } from "../os/scratch.ts";
import { ensureBaseImage } from "./base-image.ts";
import type { BuildOptions } from "./build-options.ts";
import { buildStrategy } from "./build-strategy.ts";
import { type PodmanStore, podmanStore } from "./podman-store.ts";
import { ensureSources } from "./sources/ensure-sources.ts";
import { withStorageDriver } from "./storage-driver.ts";
import { openWorkFolder, sweepStore, useStore } from "./store-sweep.ts";

/** Everything one container build needs, made ready and released together. */
export interface BuildSession extends AsyncDisposable {
  store: PodmanStore;
  /** Folder of this build, gone when it ends; on the same file system as the caches. */
  scratch: string;
  /** Folder for podman's temporary files. */
  tmpdir: string;
  /** Flags for `podman build`: isolation and network. */
  flags: readonly string[];
  strategy: string;
}

/** Removes what builds that were killed have left: half-made things, working containers, podman's own process. */
export async function sweepBuilds(home: KilnHome, signal?: AbortSignal): Promise<PodmanStore> {
  const store = await withStorageDriver(podmanStore(home), signal);
  await sweepScratch(home);
  await sweepStore(store);
  return store;
}

/** Sweeps what crashed builds left, takes the storage, brings `baseImage` into it and finds out how steps run here. */
export async function openBuildSession(
  home: KilnHome,
  baseImage: string,
  { onProgress, signal }: BuildOptions,
): Promise<BuildSession> {
  const store = await sweepBuilds(home, signal);
  await using stack = new AsyncDisposableStack();
  stack.use(await useStore(store, signal));
  const scratch = stack.use(await openScratch(home)).path;
  const tmpdir = stack.use(await openWorkFolder(store)).path;
  const sources = await ensureSources(home, {
    ...(onProgress ? { onProgress } : {}),
    ...(signal ? { signal } : {}),
  });
  const common = { ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}), tmpdir };
  await ensureBaseImage(store, baseImage, { ...common, source: sources.debian_image });
  const strategy = await buildStrategy(store, baseImage, common);
  const owned = stack.move();
  return {
    store,
    scratch,
    tmpdir,
    flags: strategy.flags,
    strategy: strategy.record.strategy,
    [Symbol.asyncDispose]: async () => {
      await owned.disposeAsync();
      await sweepStore(store);
    },
  };
}
