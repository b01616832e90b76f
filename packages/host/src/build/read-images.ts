import { setTimeout as delay } from "node:timers/promises";
import { type PodmanOptions, type PodmanResult, podmanError, tryPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

/** How long an image may be without a manifest, in milliseconds: podman writes it right after the image's record. */
const WRITING_PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 100;
const HALF_WRITTEN = /locating item named "manifest" for image with ID "([0-9a-f]{64})"/;

/**
 * Runs a podman command that reads what images are made on. It fails over any image in the storage without a manifest (seen with podman 4.3),
 * which is one that another build is writing at this moment, or one that a build was writing when it was killed. So it is tried again, and
 * what still has no manifest after ten seconds is removed: nobody can use it.
 *
 * @throws KilnError as `runPodman`.
 */
export async function readImages(
  store: PodmanStore,
  args: readonly string[],
  options: PodmanOptions = {},
): Promise<PodmanResult> {
  let halfWritten: string | undefined;
  let since = 0;
  while (true) {
    const result = await tryPodman(store, args, options);
    if (result.exitCode === 0) return result;
    const id = HALF_WRITTEN.exec(result.stderr)?.[1];
    if (id === undefined) throw podmanError(store, args, result);
    if (id !== halfWritten) {
      halfWritten = id;
      since = performance.now();
    } else if (performance.now() - since > WRITING_PATIENCE_MS) {
      const removed = await tryPodman(store, ["rmi", "--force", id], options);
      if (removed.exitCode !== 0) throw podmanError(store, args, result);
      halfWritten = undefined;
    }
    await delay(LOOK_AGAIN_MS);
  }
}
