import type { Readable } from "node:stream";
import { runPodman, streamPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

export interface ExportedImage extends AsyncDisposable {
  /** The archive. It may end early without an error of its own: `done` says whether it is whole. */
  tar: Readable;
  /** Settles when podman has ended; rejects when it failed. */
  done: Promise<void>;
}

/**
 * The files of `image` as a tar stream, with owners, modes and extended attributes. Disposing it ends podman.
 *
 * It takes a container, which is never started. `podman build --output` would need none, but without root it drops
 * setuid and setgid bits (seen with podman 4.3).
 */
export async function exportImage(
  store: PodmanStore,
  image: string,
  { tmpdir, signal }: { tmpdir: string; signal?: AbortSignal },
): Promise<ExportedImage> {
  const limits = { ...(signal ? { signal } : {}), tmpdir };
  // An image without a command needs one to become a container; it need not exist.
  const created = await runPodman(
    store,
    ["create", "--network=none", "--pull=never", image, "/none"],
    limits,
  );
  const container = created.stdout.trim();
  const end = new AbortController();
  const { stdout, done } = streamPodman(store, ["export", container], {
    signal: signal ? AbortSignal.any([signal, end.signal]) : end.signal,
    tmpdir,
  });
  done.catch(() => {}); // Whoever takes the archive awaits it too, but only after the archive's end.
  return {
    tar: stdout,
    done,
    async [Symbol.asyncDispose]() {
      end.abort();
      stdout.destroy();
      await done.catch(() => {});
      await runPodman(store, ["rm", "--force", container]);
    },
  };
}
