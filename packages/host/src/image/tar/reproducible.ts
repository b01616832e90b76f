import type { ByteString } from "../byte-string.ts";
import type { TarHandler } from "./tar-entry.ts";

export interface Reproducible {
  /** No file is younger, seconds since 1970: times of the build's own day become this one. */
  newestSeconds: number;
  /** Paths, from the root, of what differs from build to build and nobody needs. */
  omits: (path: ByteString) => boolean;
}

/** Tells `handler` of an archive without what makes two builds of the same things differ. */
export function reproducible(handler: TarHandler, { newestSeconds, omits }: Reproducible): TarHandler {
  let omitted = false;
  return {
    entry(entry) {
      omitted = omits(entry.path.replace(/^(?:\.?\/)+/, ""));
      if (omitted) return;
      const isYounger = entry.mtimeSeconds >= newestSeconds;
      handler.entry(isYounger ? { ...entry, mtimeSeconds: newestSeconds, mtimeNanoseconds: 0 } : entry);
    },
    data(bytes) {
      if (!omitted) handler.data(bytes);
    },
    entryEnd() {
      if (!omitted) handler.entryEnd();
    },
  };
}
