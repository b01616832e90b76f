import {
  closeSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { type ByteString, show, toBytes } from "@kiln/host/image/byte-string.ts";
import { splitPath } from "@kiln/host/image/path.ts";
import type { TarEntry, TarHandler } from "@kiln/host/image/tar/tar-entry.ts";
import { TarReader } from "@kiln/host/image/tar/tar-reader.ts";
import { KilnError, systemErrorCode } from "@kiln/sdk/errors.ts";

/** Only permissions: no program of a guest gets more rights here than whoever copied it. */
const MODE_BITS = 0o777;
const SLASH = Buffer.from("/");

/**
 * Unpacks a tar stream that a guest made into the directory `target`, and nowhere else: no name leads out of it, and no symbolic link
 * in it is followed. Owners are this user; devices and pipes are left out.
 * @throws KilnError `IMAGE_INVALID` for what is no tar archive, `CONFLICT` for what is in the way.
 */
export async function extractTar(
  archive: AsyncIterable<Buffer>,
  target: string,
  onNotice: (text: string) => void,
): Promise<void> {
  const extractor = new Extractor(target, onNotice);
  const reader = new TarReader(extractor);
  try {
    for await (const chunk of archive) reader.push(chunk);
    reader.end();
  } finally {
    extractor.close();
  }
}

/** Writes synchronously, as the reader tells of entries: the program has nothing else to do. */
class Extractor implements TarHandler {
  readonly #root: Buffer;
  readonly #onNotice: (text: string) => void;
  /** Directories below the root that were looked at: they are no links. */
  readonly #known = new Set<ByteString>();
  #file: number | undefined;
  #times: { path: Buffer; seconds: number } | undefined;

  constructor(target: string, onNotice: (text: string) => void) {
    this.#root = Buffer.from(target);
    this.#onNotice = onNotice;
  }

  entry(entry: TarEntry): void {
    const names = splitPath(entry.path);
    if (entry.type === "directory") {
      this.#directory(names, entry.mode & MODE_BITS);
      return;
    }
    if (names.length === 0)
      throw new KilnError("IMAGE_INVALID", `the archive has a ${entry.type} without a name`);
    this.#directory(names.slice(0, -1));
    const path = this.#path(names);
    switch (entry.type) {
      case "file": {
        this.#clear(path, entry);
        const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
        this.#file = openSync(path, flags, entry.mode & MODE_BITS);
        this.#times = { path, seconds: entry.mtimeSeconds };
        return;
      }
      case "symlink":
        this.#clear(path, entry);
        symlinkSync(toBytes(entry.linkPath), path);
        return;
      case "hard-link": {
        const linked = splitPath(entry.linkPath);
        this.#directory(linked.slice(0, -1));
        this.#clear(path, entry);
        linkSync(this.#path(linked), path); // Of a symbolic link this makes another one; it is not followed.
        return;
      }
      default:
        this.#onNotice(`${show(entry.path)} is a ${entry.type}: left out`);
    }
  }

  data(bytes: Buffer): void {
    if (this.#file === undefined) return;
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
  }

  entryEnd(): void {
    this.close();
    if (this.#times !== undefined) utimesSync(this.#times.path, this.#times.seconds, this.#times.seconds);
    this.#times = undefined;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** Names are any bytes: paths are put together as bytes. */
  #path(names: readonly ByteString[]): Buffer {
    return Buffer.concat([this.#root, ...names.flatMap((name) => [SLASH, toBytes(name)])]);
  }

  /** Makes sure that this is a directory, and all above it, up to the root. */
  #directory(names: readonly ByteString[], mode = 0o777): void {
    for (let depth = 1; depth <= names.length; depth++) {
      const key = names.slice(0, depth).join("/");
      if (this.#known.has(key)) continue;
      const path = this.#path(names.slice(0, depth));
      const found = lstatOrUndefined(path);
      // Its owner can always write into what is being unpacked.
      if (found === undefined) mkdirSync(path, depth === names.length ? mode | 0o700 : 0o777);
      else if (!found.isDirectory()) throw inTheWay(key);
      this.#known.add(key);
    }
  }

  /** Makes room for an entry: a file or link of its name goes, a directory stays. */
  #clear(path: Buffer, entry: TarEntry): void {
    const found = lstatOrUndefined(path);
    if (found?.isDirectory()) throw inTheWay(entry.path);
    if (found !== undefined) unlinkSync(path);
  }
}

const inTheWay = (path: ByteString): KilnError =>
  new KilnError("CONFLICT", `${show(path)} is there already, and of another kind`);

function lstatOrUndefined(path: Buffer) {
  try {
    return lstatSync(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
