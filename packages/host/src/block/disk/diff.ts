import { closeSync, fdatasync, openSync, readSync, type Stats } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
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

  /** Opens a diff for reading only, as a layer below others, or for writing. @throws KilnError `IMAGE_INVALID`. */
  static async open(directory: string, mode: "layer" | "writable"): Promise<Diff> {
    const mapPath = join(directory, MAP_FILE);
    const dataPath = join(directory, DATA_FILE);
    const flags = mode === "layer" ? "r" : "r+";
    const [mapStat, dataStat] = await Promise.all([statFile(mapPath), statFile(dataPath)]);
    let mapFd = -1;
    let dataFd = -1;
    try {
      mapFd = openSync(mapPath, flags);
      const headerBytes = Buffer.alloc(HEADER_SIZE);
      readSync(mapFd, headerBytes, 0, HEADER_SIZE, 0);
      const header = decodeHeader(headerBytes, mapPath);
      checkLength(mapPath, mapStat.size, HEADER_SIZE + BlockMap.byteLength(header.sizeBytes));
      checkLength(dataPath, dataStat.size, header.sizeBytes);
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
        throw new KilnError(
          "IMAGE_INVALID",
          `${directory}: the disk diff is sealed and cannot be written to`,
          {
            hint: "name it among the layers and give the disk another diff",
          },
        );
      }
      const bytes = new Uint8Array(BlockMap.byteLength(header.sizeBytes));
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(mapFd, bytes, done, bytes.length - done, HEADER_SIZE + done);
        if (count === 0) throw new KilnError("IMAGE_INVALID", `${mapPath}: ends early`);
        done += count;
      }
      dataFd = openSync(dataPath, flags);
      return new Diff(directory, header, new BlockMap(mapFd, HEADER_SIZE, bytes), dataFd, mapFd);
    } catch (error) {
      if (mapFd >= 0) closeSync(mapFd);
      if (dataFd >= 0) closeSync(dataFd);
      throw error;
    }
  }

  /** Makes an empty diff and opens it for writing. The map gets its name last, so a crash leaves a diff or none. */
  static async create(directory: string, sizeBytes: number, parent: string): Promise<Diff> {
    const header: DiffHeader = { sizeBytes, identity: newIdentity(), parent, sealed: false };
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const unfinished = join(directory, `${MAP_FILE}.new`);
    await Promise.all([rm(unfinished, { force: true }), rm(join(directory, DATA_FILE), { force: true })]);
    {
      await using data = await open(join(directory, DATA_FILE), "wx", 0o600);
      await data.truncate(sizeBytes);
    }
    {
      await using map = await open(unfinished, "wx", 0o600);
      await map.truncate(HEADER_SIZE + BlockMap.byteLength(sizeBytes));
      await map.write(encodeHeader(header), 0, HEADER_SIZE, 0);
    }
    await rename(unfinished, join(directory, MAP_FILE));
    return Diff.open(directory, "writable");
  }

  /** Whether `directory` holds a diff. What a crash left half-made is none: nothing was ever written to it. */
  static async exists(directory: string): Promise<boolean> {
    return (await stat(join(directory, MAP_FILE)).catch(absentAsUndefined)) !== undefined;
  }

  /** Brings everything written so far to the disk: the data first, then the map that points to it. */
  async sync(): Promise<void> {
    await syncFile(this.dataFd);
    await syncFile(this.#mapFd);
  }

  /** Makes the diff immutable and durable. Nothing may write to it from here on. */
  async seal(): Promise<void> {
    await this.sync();
    writeWhole(this.#mapFd, encodeHeader({ ...this.header, sealed: true }), 0, HEADER_SIZE, 0);
    await syncFile(this.#mapFd);
    await syncDirectory(this.directory);
  }

  close(): void {
    closeSync(this.dataFd);
    closeSync(this.#mapFd);
  }
}

function absentAsUndefined(error: unknown): undefined {
  if (systemErrorCode(error) !== "ENOENT") throw error;
}

async function statFile(path: string): Promise<Stats> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new KilnError(
      "IMAGE_INVALID",
      `${path}: cannot be opened (${systemErrorCode(cause) ?? "unknown error"})`,
      {
        cause,
        hint: "a disk diff is a folder with the files data and map",
      },
    );
  });
  if (!found.isFile()) throw new KilnError("IMAGE_INVALID", `${path}: not a regular file`);
  return found;
}

function checkLength(path: string, actual: number, expected: number): void {
  if (actual === expected) return;
  throw new KilnError("IMAGE_INVALID", `${path}: is ${actual} bytes long, must be ${expected}`, {
    hint: "the file was cut off or belongs to another disk",
  });
}
