import { KilnError } from "../errors.ts";
import type { GuestConnection } from "./connection.ts";
import { delimited } from "./delimited.ts";
import {
  type Request,
  FileInfo as WireFileInfo,
  FileType as WireFileType,
} from "./gen/kiln/agent/v1/agent.ts";
import { unwrapReply } from "./reply.ts";
import { type WatchEvent, type WatchOptions, watch } from "./watch.ts";

const MAX_PATH_BYTES = 4_095;
/** Longest FileInfo message of a listing: a name, a link target and some numbers. */
const MAX_ENTRY_BYTES = 8_192;

export type FileType = "file" | "directory" | "symlink" | "other";

export interface FileInfo {
  /** Last component of the path. Bytes that are no UTF-8 show as U+FFFD. */
  name: string;
  type: FileType;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  modified: Date;
  /** Where a symbolic link points. */
  target: string | undefined;
}

export interface WriteFileOptions {
  /** Permission bits. @default 0o644 */
  mode?: number;
  /** Makes missing parent directories. @default false */
  parents?: boolean;
  /** Owner: `name`, `name:group`, `uid` or `uid:gid`. @default the image's user */
  user?: string;
}

const TYPES = new Map<WireFileType, FileType>([
  [WireFileType.FILE_TYPE_REGULAR, "file"],
  [WireFileType.FILE_TYPE_DIRECTORY, "directory"],
  [WireFileType.FILE_TYPE_SYMLINK, "symlink"],
  [WireFileType.FILE_TYPE_OTHER, "other"],
]);

function encodePath(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length === 0 || bytes.length > MAX_PATH_BYTES || bytes.includes(0)) {
    throw new KilnError("USAGE", `a path in the guest must have 1 to ${MAX_PATH_BYTES} bytes and no NUL`);
  }
  return bytes;
}

function toFileInfo(wire: WireFileInfo): FileInfo {
  const type = TYPES.get(wire.type);
  if (type === undefined) throw new KilnError("GUEST_PROTOCOL", `the guest reported file type ${wire.type}`);
  return {
    name: wire.name.toString(),
    type,
    mode: wire.mode,
    uid: wire.uid,
    gid: wire.gid,
    size: Number(wire.size),
    modified: new Date(Number(wire.modifiedNs / 1_000_000n)),
    target: type === "symlink" ? wire.target.toString() : undefined,
  };
}

async function perform(connection: GuestConnection, kind: NonNullable<Request["kind"]>): Promise<void> {
  unwrapReply(await connection.open({ kind }).reply, "done", "file");
}

/**
 * The files of a guest. Every call throws KilnError `FILE_NOT_FOUND`, `PERMISSION_DENIED`, `CONFLICT` (it exists, or is a
 * directory that is not empty), or `GUEST_ERROR` for all else the guest's system refuses.
 */
export class GuestFiles {
  readonly #connection: GuestConnection;

  constructor(connection: GuestConnection) {
    this.#connection = connection;
  }

  /** Bytes of a file from `offset` on, at most `length`, as they arrive. Leaving the loop early stops the guest. */
  async *read(path: string, { offset = 0, length = 0 } = {}): AsyncGenerator<Buffer, void, undefined> {
    const value = { path: encodePath(path), offset: BigInt(offset), length: BigInt(length) };
    const stream = this.#connection.open({ kind: { $case: "readFile", value } });
    try {
      yield* stream.output;
      unwrapReply(await stream.reply, "done", "file");
    } finally {
      await stream.cancel();
    }
  }

  /** Replaces or makes a file; it is there whole or not at all. Returns the bytes written. */
  async write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteFileOptions = {},
  ): Promise<number> {
    const value = {
      path: encodePath(path),
      mode: options.mode ?? 0,
      parents: options.parents ?? false,
      user: options.user ?? "",
    };
    const stream = this.#connection.open({ kind: { $case: "writeFile", value } });
    let whole = false;
    try {
      if (content instanceof Uint8Array) await stream.write(content);
      else {
        for await (const chunk of content) {
          if (stream.over) break; // The reply says why.
          await stream.write(chunk);
        }
      }
      await stream.end();
      whole = true;
    } finally {
      if (!whole) await stream.cancel();
    }
    return Number(unwrapReply(await stream.reply, "done", "file").size);
  }

  async stat(path: string, { follow = true } = {}): Promise<FileInfo> {
    const stream = this.#connection.open({
      kind: { $case: "stat", value: { path: encodePath(path), follow } },
    });
    return toFileInfo(unwrapReply(await stream.reply, "info", "file"));
  }

  /** What is in a directory, in the order the guest's file system has it. */
  async *list(path: string): AsyncGenerator<FileInfo, void, undefined> {
    const stream = this.#connection.open({
      kind: { $case: "listDirectory", value: { path: encodePath(path) } },
    });
    try {
      for await (const message of delimited(stream.output, MAX_ENTRY_BYTES)) {
        yield toFileInfo(WireFileInfo.decode(message));
      }
      unwrapReply(await stream.reply, "done", "file");
    } finally {
      await stream.cancel();
    }
  }

  makeDirectory(path: string, options: WriteFileOptions = {}): Promise<void> {
    const { mode = 0, parents = false, user = "" } = options;
    return perform(this.#connection, {
      $case: "makeDirectory",
      value: { path: encodePath(path), mode, parents, user },
    });
  }

  remove(path: string, { recursive = false } = {}): Promise<void> {
    return perform(this.#connection, { $case: "remove", value: { path: encodePath(path), recursive } });
  }

  rename(from: string, to: string): Promise<void> {
    return perform(this.#connection, {
      $case: "rename",
      value: { from: encodePath(from), to: encodePath(to) },
    });
  }

  /** What changes in a directory, or about one file, from the event `ready` on. Leaving the loop early ends it. */
  watch(path: string, options: WatchOptions = {}): AsyncGenerator<WatchEvent, void, undefined> {
    return watch(this.#connection, encodePath(path), options);
  }
}
