import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { KilnError, systemErrorCode } from "../../errors.ts";
import { syncDirectory } from "../../os/atomic-file.ts";
import { BlockMap } from "./block-map.ts";
import { type DiffHeader, decodeHeader, encodeHeader, HEADER_SIZE, newIdentity } from "./diff-header.ts";
import { writeWhole } from "./whole-io.ts";

const syncFile = promisify(fdatasync);

/** The files of a diff, in its folder. */
export const DATA_FILE = "data";
export const MAP_FILE = "map";

export type DiffMode = "layer" | "becoming-layer" | "writable";

/** An opened diff: a folder with `data`, a sparse file of the device's size, and `map`, which says what of it counts. */
export class Diff {
  readonly directory: string;
  readonly header: DiffHeader;
  readonly map: BlockMap;
  readonly dataFd: number;
  readonly #mapFd: number;

  private constructor(directory: string, header: DiffHeader, map: BlockMap, dataFd: number, mapFd: number) {
    this.directory = directory;
    this.header = header;
    this.map = map;
    this.dataFd = dataFd;
    this.#mapFd = mapFd;
  }

  /**
   * Opens a diff for reading only, as a layer below others, or for writing. `becoming-layer` takes one that is not
   * sealed yet for a layer: nothing may write to it any more. @throws KilnError `IMAGE_INVALID`.
   */
  static open(directory: string, mode: DiffMode): Diff {
    const mapPath = join(directory, MAP_FILE);
    const dataPath = join(directory, DATA_FILE);
    using opened = new DisposableStack();
    const mapFd = openFile(mapPath, mode, opened);
    const header = decodeHeader(readUpTo(mapFd, HEADER_SIZE, 0), mapPath);
    checkSealed(directory, header, mode);
    const mapLength = BlockMap.byteLength(header.sizeBytes);
    checkLength(mapPath, mapFd, HEADER_SIZE + mapLength);
    const bytes = readUpTo(mapFd, mapLength, HEADER_SIZE);
    if (bytes.length < mapLength || !BlockMap.isValid(bytes)) {
      throw new KilnError("IMAGE_INVALID", `${mapPath}: the map is damaged`, { hint: DAMAGED_HINT });
    }
    const dataFd = openFile(dataPath, mode, opened);
    checkLength(dataPath, dataFd, header.sizeBytes);
    opened.move();
    return new Diff(directory, header, new BlockMap(mapFd, HEADER_SIZE, bytes), dataFd, mapFd);
  }

  /** Makes an empty diff and opens it for writing. The map gets its name last, so a crash leaves a diff or none. */
  static create(directory: string, sizeBytes: number, parent: string): Diff {
    const header: DiffHeader = { sizeBytes, identity: newIdentity(), parent, sealed: false };
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const unfinished = join(directory, `${MAP_FILE}.new`);
    const mapLength = BlockMap.byteLength(sizeBytes);
    using opened = new DisposableStack();
    const dataFd = createFile(join(directory, DATA_FILE), sizeBytes, opened);
    const mapFd = createFile(unfinished, HEADER_SIZE + mapLength, opened);
    writeWhole(mapFd, encodeHeader(header), 0, HEADER_SIZE, 0);
    renameSync(unfinished, join(directory, MAP_FILE));
    opened.move();
    // Zeros that nobody has read yet take no memory, so a map costs what the disk's writes touch of it.
    return new Diff(
      directory,
      header,
      new BlockMap(mapFd, HEADER_SIZE, new Uint8Array(mapLength)),
      dataFd,
      mapFd,
    );
  }

  /** Whether `directory` holds a diff. What a crash left half-made is none: nothing was ever written to it. */
  static exists(directory: string): boolean {
    return statSync(join(directory, MAP_FILE), { throwIfNoEntry: false }) !== undefined;
  }

  /** Whether nothing was ever written to it. */
  get isEmpty(): boolean {
    return this.map.bytes.every((byte) => byte === 0);
  }

  /** Brings everything written so far to the disk: the data first, then the map that points to it. */
  async sync(): Promise<void> {
    await syncFile(this.dataFd);
    await syncFile(this.#mapFd);
  }

  /** Makes the diff immutable and durable. Nothing may write to it from here on, unless this fails. */
  async seal(): Promise<void> {
    await this.sync();
    try {
      this.#writeHeader(true);
      await syncFile(this.#mapFd);
      await syncDirectory(this.directory);
    } catch (error) {
      this.#writeHeader(false);
      throw error;
    }
  }

  /** Room its data takes on the host, in bytes. */
  allocatedBytes(): number {
    return fstatSync(this.dataFd).blocks * 512;
  }

  #writeHeader(sealed: boolean): void {
    writeWhole(this.#mapFd, encodeHeader({ ...this.header, sealed }), 0, HEADER_SIZE, 0);
  }

  close(): void {
    closeSync(this.dataFd);
    closeSync(this.#mapFd);
  }
}

const DAMAGED_HINT =
  "the file was cut off, changed, or belongs to another disk; start again from the template";

function openFile(path: string, mode: DiffMode, opened: DisposableStack): number {
  try {
    const fd = openSync(path, mode === "writable" ? "r+" : "r");
    opened.defer(() => closeSync(fd));
    if (!fstatSync(fd).isFile()) throw new KilnError("IMAGE_INVALID", `${path}: not a regular file`);
    return fd;
  } catch (cause) {
    if (cause instanceof KilnError) throw cause;
    throw new KilnError(
      "IMAGE_INVALID",
      `${path}: cannot be opened (${systemErrorCode(cause) ?? String(cause)})`,
      {
        cause,
        hint: "a disk diff is a folder with the files data and map",
      },
    );
  }
}

/** Replaces what a crash left behind. */
function createFile(path: string, length: number, opened: DisposableStack): number {
  const fd = openSync(path, "w+", 0o600);
  opened.defer(() => closeSync(fd));
  ftruncateSync(fd, length);
  return fd;
}

/** Up to `length` bytes from `position`: fewer when the file ends before. */
function readUpTo(fd: number, length: number, position: number): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(length));
  let done = 0;
  for (;;) {
    const more = readSync(fd, bytes, done, length - done, position + done);
    done += more;
    if (more === 0 || done === length) return bytes.subarray(0, done);
  }
}

function checkSealed(directory: string, header: DiffHeader, mode: DiffMode): void {
  if (mode === "layer" && !header.sealed) {
    throw new KilnError(
      "IMAGE_INVALID",
      `${directory}: the disk diff is not sealed, so it may still change`,
      {
        hint: "seal() the disk that writes to it first",
      },
    );
  }
  if (mode === "writable" && header.sealed) {
    throw new KilnError("IMAGE_INVALID", `${directory}: the disk diff is sealed and cannot be written to`, {
      hint: "name it among the layers and give the disk another diff",
    });
  }
}

function checkLength(path: string, fd: number, expected: number): void {
  const actual = fstatSync(fd).size;
  if (actual === expected) return;
  throw new KilnError("IMAGE_INVALID", `${path}: is ${actual} bytes long, must be ${expected}`, {
    hint: DAMAGED_HINT,
  });
}
