import { createHash } from "node:crypto";
import { join } from "node:path";
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
}

export function podmanStore(home: KilnHome): PodmanStore {
  // Podman refuses a runroot of more than 50 characters, so it cannot be a folder of a home that may be anywhere.
  const id = createHash("sha256").update(home.root).digest("hex").slice(0, 12);
  const base = process.getuid?.() === 0 ? "/run" : (process.env.XDG_RUNTIME_DIR ?? "/tmp");
  return { home, root: join(home.root, "containers"), runroot: join(base, `kiln-${id}`) };
}
