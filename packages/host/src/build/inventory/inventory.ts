import type { TarEntry, TarHandler } from "../../image/tar/tar-entry.ts";
import { comparePackages, type Package } from "./package.ts";
import {
  type Distribution,
  parseDpkgStatus,
  parseOsRelease,
  parsePackageJson,
  parsePythonMetadata,
  parseToolVersion,
} from "./parse.ts";

/** Bytes of one file that are looked at: what is longer is passed over. dpkg's status is 1 MB for a thousand packages. */
const MAX_FILE_BYTES = 32 * 1024 * 1024;
const MAX_DESCRIPTION_BYTES = 1024 * 1024;
/** Packages that are kept. */
const MAX_PACKAGES = 200_000;

interface Reader {
  maxBytes: number;
  read(text: string): void;
}

/**
 * Finds out which packages are in an image while its archive goes by: Debian's from dpkg's status file, npm's and Python's
 * from the descriptions beside their files. Nothing of the image is run. What cannot be read is passed over; a file is
 * never in memory but when it is one of these, and then up to a limit.
 */
export class Inventory implements TarHandler {
  readonly #packages: Package[] = [];
  #distribution: Distribution | undefined;
  #open: { reader: Reader; pieces: Buffer[] } | undefined;

  entry({ type, path, size }: TarEntry): void {
    this.#open = undefined;
    if (type !== "file") return;
    const reader = this.#readerFor(toText(path));
    if (reader !== undefined && size <= reader.maxBytes) this.#open = { reader, pieces: [] };
  }

  data(bytes: Buffer): void {
    this.#open?.pieces.push(Buffer.from(bytes));
  }

  entryEnd(): void {
    if (this.#open === undefined) return;
    const { reader, pieces } = this.#open;
    this.#open = undefined;
    reader.read(Buffer.concat(pieces).toString("utf8"));
  }

  /** What was found, in a fixed order, each once. */
  get packages(): Package[] {
    const sorted = this.#packages.toSorted(comparePackages);
    return sorted.filter((entry, index) => {
      const before = sorted[index - 1];
      return before === undefined || comparePackages(before, entry) !== 0;
    });
  }

  get distribution(): Distribution | undefined {
    return this.#distribution;
  }

  #readerFor(path: string): Reader | undefined {
    const keep = (maxBytes: number, parse: (text: string) => Package[]): Reader => ({
      maxBytes,
      read: (text) => {
        for (const entry of parse(text)) if (this.#packages.length < MAX_PACKAGES) this.#packages.push(entry);
      },
    });
    if (path === "var/lib/dpkg/status" || path.startsWith("var/lib/dpkg/status.d/")) {
      return keep(MAX_FILE_BYTES, parseDpkgStatus);
    }
    if (path === "usr/lib/os-release" || path === "etc/os-release") {
      return {
        maxBytes: MAX_DESCRIPTION_BYTES,
        read: (text) => {
          this.#distribution ??= parseOsRelease(text);
        },
      };
    }
    const npm = /^(.*node_modules\/(?:@[^/]+\/)?[^/@.][^/]*)\/package\.json$/.exec(path)?.[1];
    if (npm !== undefined) return keep(MAX_DESCRIPTION_BYTES, (text) => parsePackageJson(text, `/${npm}`));
    const python =
      /^(.*(?:site|dist)-packages)\/[^/]+(?:\.dist-info\/METADATA|\.egg-info\/PKG-INFO|\.egg-info)$/.exec(
        path,
      )?.[1];
    if (python !== undefined) {
      return keep(MAX_DESCRIPTION_BYTES, (text) => parsePythonMetadata(text, `/${python}`));
    }
    const tool = /^etc\/kiln\/tools\/([a-z]+)$/.exec(path)?.[1];
    if (tool !== undefined) return keep(MAX_DESCRIPTION_BYTES, (text) => parseToolVersion(text, tool));
    return undefined;
  }
}

/** A path of the archive as text, without what leads to the root. */
function toText(path: string): string {
  return Buffer.from(path, "latin1")
    .toString("utf8")
    .replace(/^(?:\.?\/)+/, "");
}
