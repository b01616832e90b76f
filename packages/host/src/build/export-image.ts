import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { streamPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

/** Length of what podman prints after the archive: the image's id in hex and a newline. */
const TRAILER_BYTES = 65;

/**
 * The files of `image` as a tar stream, with owners and extended attributes, from a build of one step: unlike
 * `podman export` that needs no container, so there is none to remove.
 */
export async function exportImage(
  store: PodmanStore,
  image: string,
  { scratch, tmpdir, signal }: { scratch: string; tmpdir: string; signal?: AbortSignal },
): Promise<{ tar: Transform; done: Promise<void> }> {
  const context = join(scratch, "empty");
  await mkdir(context, { recursive: true });
  const containerfile = join(tmpdir, "Containerfile.export");
  await writeFile(containerfile, `FROM ${image}\n`);
  const { stdout, done } = streamPodman(
    store,
    ["build", "--quiet", "--pull=never", "--output=type=tar,dest=-", `--file=${containerfile}`, context],
    { ...(signal ? { signal } : {}), tmpdir },
  );
  const tar = withoutTrailer();
  stdout.on("error", (error) => tar.destroy(error));
  stdout.pipe(tar);
  tar.on("close", () => stdout.destroy());
  // A podman that fails half-way must not look like an archive that ends.
  done.catch((error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))));
  return { tar, done };
}

/** Passes on everything but the image id that follows the archive on podman's standard output. */
function withoutTrailer(): Transform {
  let held = Buffer.alloc(0);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const all = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const pass = Math.max(0, all.length - TRAILER_BYTES);
      held = Buffer.from(all.subarray(pass));
      done(null, all.subarray(0, pass));
    },
    flush(done) {
      const isTrailer = /^[0-9a-f]{64}\n$/.test(held.toString("latin1"));
      done(null, isTrailer ? null : held);
    },
  });
}
