import { createHash } from "node:crypto";
import { lstat, mkdir } from "node:fs/promises";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";

/**
 * Kiln keeps images and step caches in a container storage of its own, below KILN_HOME: whatever is found there is
 * Kiln's, so that what a crash leaves can be removed without a look at the user's own images and containers.
 */
export interface PodmanStore {
  home: KilnHome;
  /** Images and layers: `--root`. */
  root: string;
  /** State that does not outlive a reboot: `--runroot`. */
  runroot: string;
  /** Storage driver that podman is told to use; undefined leaves the choice to podman. */
  driver: "overlay" | undefined;
}

export function podmanStore(home: KilnHome): PodmanStore {
  const id = createHash("sha256").update(home.root).digest("hex").slice(0, 12);
  // Podman refuses a runroot of more than 50 characters, so it cannot be a folder of a home that may be anywhere. It
  // remembers the path, so XDG_RUNTIME_DIR, which only some sessions have, will not do either.
  const uid = process.getuid?.() ?? 0;
  const runroot = uid === 0 ? `/run/kiln-${id}` : `/tmp/kiln-${uid}-${id}`;
  return { home, root: home.containers, runroot, driver: "overlay" };
}

/** Makes the store's folders; refuses a runroot that somebody else has made in /tmp before. */
export async function makeStoreFolders({ root, runroot }: PodmanStore): Promise<void> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  await mkdir(runroot, { recursive: true, mode: 0o700 });
  const { uid, mode } = await lstat(runroot);
  if (uid === process.getuid?.() && (mode & 0o170022) === 0o040000) return;
  throw new KilnError("HOST_UNSUPPORTED", `${runroot} belongs to somebody else`, {
    hint: "remove it, or choose another KILN_HOME",
  });
}
