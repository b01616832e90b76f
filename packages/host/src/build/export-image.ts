import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Readable, Transform } from "node:stream";
import { streamPodman } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";

/** Length of what podman prints after the archive: the image's id in hex and a newline. */
const TRAILER_BYTES = 65;

export interface ExportedImage extends AsyncDisposable {
  /** The archive; ends with an error when podman fails half-way. */
  tar: Readable;
  /** Settles when podman has ended; rejects when it failed. */
  done: Promise<void>;
}

/**
 * The files of `image` as a tar stream, with owners and extended attributes, from a build of one step: unlike
 * `podman export` that needs no container, so there is none to remove. Disposing it ends podman.
 */
export async function exportImage(
  store: PodmanStore,
  image: string,
  { scratch, tmpdir, signal }: { scratch: string; tmpdir: string; signal?: AbortSignal },
): Promise<ExportedImage> {
  const context = join(scratch, "empty");
  await mkdir(context, { recursive: true });
  const containerfile = join(tmpdir, "Containerfile.export");
  await writeFile(containerfile, `FROM ${image}\n`);
  const end = new AbortController();
  const { stdout, done } = streamPodman(
    store,
    ["build", "--quiet", "--pull=never", "--output=type=tar,dest=-", `--file=${containerfile}`, context],
    { signal: signal ? AbortSignal.any([signal, end.signal]) : end.signal, tmpdir },
  );
  const tar = withoutTrailer(done);
  stdout.on("error", (error) => tar.destroy(error));
  stdout.pipe(tar);
  return {
    tar,
    done,
    async [Symbol.asyncDispose]() {
      end.abort();
      tar.destroy();
      stdout.destroy();
      await done.catch(() => {}); // Whoever used the archive has seen it.
    },
  };
}

/**
 * Passes on everything but the image id that follows the archive on podman's standard output, and ends only when
 * `done` has: half an archive of a podman that failed must not pass for a whole one.
 */
function withoutTrailer(done: Promise<void>): Transform {
  let held: Buffer = Buffer.alloc(0);
  done.catch(() => {}); // Reported by flush; the stream may have been destroyed before.
  return new Transform({
    transform(chunk: Buffer, _encoding, next) {
      const all = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const pass = Math.max(0, all.length - TRAILER_BYTES);
      held = Buffer.from(all.subarray(pass));
      next(null, all.subarray(0, pass));
    },
    flush(next) {
      const rest = /^[0-9a-f]{64}\n$/.test(held.toString("latin1")) ? null : held;
      done.then(
        () => next(null, rest),
        (error: unknown) => next(error instanceof Error ? error : new Error(String(error))),
      );
    },
  });
}
