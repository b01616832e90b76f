import { close, open, read, write, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemErrorCode } from "../../../errors.ts";
import { mountFuse, unmountFuse } from "./mount.ts";
import {
  attributesReply,
  decodeRequest,
  Errno,
  encodeReply,
  encodeStore,
  entryReply,
  initReply,
  nameOf,
  Opcode,
  openReply,
  REQUEST_BYTES,
  type Request,
  ROOT,
  readArguments,
  statfsReply,
} from "./protocol.ts";

/** A file that is shown. */
export interface FuseFile {
  readonly sizeBytes: number;
  /** Bytes from `offset`. @throws when they cannot be had. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Told whenever somebody has looked it up. */
  onKnown(): void;
}

interface Node {
  name: string;
  file: FuseFile;
  /** Times it is open, or mapped. */
  users: number;
}

/** A folder of files that are read when somebody touches them: memory that VMs map. */
export class FuseServer {
  readonly #fd: number;
  readonly #directory: string;
  readonly #nodes = new Map<number, Node>();
  #next = ROOT + 1;
  readonly #storing: Buffer[] = [];

  private constructor(fd: number, directory: string) {
    this.#fd = fd;
    this.#directory = directory;
  }

  /** Mounts at `directory`. @throws where that is not possible: no /dev/fuse, or not allowed. */
  static async start(directory: string): Promise<FuseServer> {
    const fd = await promisify(open)("/dev/fuse", "r+");
    const server = new FuseServer(fd, directory);
    try {
      await mountFuse(fd, directory);
      server.#listen();
      return server;
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  /** Shows `file`. @returns its number and its path. */
  add(file: FuseFile): { node: number; path: string } {
    const node = this.#next++;
    const name = `m${node}`;
    this.#nodes.set(node, { name, file, users: 0 });
    return { node, path: join(this.#directory, name) };
  }

  /** Puts pages of a file that somebody has looked up into the page cache, so that the kernel need not ask for them. */
  store(node: number, offset: number, content: Uint8Array): void {
    this.#storing.push(encodeStore(node, offset, content));
    if (this.#storing.length === 1) this.#storeNext();
  }

  /** One after the other, and in a thread: the kernel makes it wait for a page that is being read, and that read for an answer. */
  #storeNext(): void {
    const [message] = this.#storing;
    if (message === undefined) return;
    write(this.#fd, message, () => {
      // A failure costs a question later: the file is forgotten, or memory is short.
      this.#storing.shift();
      this.#storeNext();
    });
  }

  /** How many times files are open or mapped. */
  get users(): number {
    let users = 0;
    for (const node of this.#nodes.values()) users += node.users;
    return users;
  }

  async stop(): Promise<void> {
    await unmountFuse(this.#directory);
  }

  #listen(): void {
    const bytes = Buffer.allocUnsafeSlow(REQUEST_BYTES);
    const next = () =>
      read(this.#fd, bytes, 0, bytes.length, null, (error, length) => {
        if (error) {
          const code = systemErrorCode(error);
          // A request that was taken back; anything else, ENODEV above all, is the end of the mount.
          if (code === "ENOENT" || code === "EINTR" || code === "EAGAIN") next();
          return;
        }
        void this.#serve(decodeRequest(Buffer.from(bytes.subarray(0, length))));
        next();
      });
    next();
  }

  async #serve(request: Request): Promise<void> {
    const { opcode, unique } = request;
    if (opcode === Opcode.FORGET || opcode === Opcode.BATCH_FORGET || opcode === Opcode.INTERRUPT) return;
    let reply: Buffer | number;
    try {
      reply = await this.#answer(request);
    } catch (error) {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      reply = Errno.EIO;
    }
    const bytes =
      typeof reply === "number" ? encodeReply(unique, undefined, reply) : encodeReply(unique, reply);
    try {
      writeSync(this.#fd, bytes);
      if (opcode === Opcode.LOOKUP) this.#named(request)?.[1].file.onKnown();
    } catch {
      // Whoever has asked is gone.
    }
  }

  /** What a LOOKUP is about. */
  #named({ body }: Request): [number, Node] | undefined {
    const name = nameOf(body);
    return [...this.#nodes].find(([, node]) => node.name === name);
  }

  #answer(request: Request): Buffer | number | Promise<Buffer> {
    const { opcode, node: id, body } = request;
    const node = this.#nodes.get(id);
    if (node === undefined && id !== ROOT && opcode !== Opcode.INIT && opcode !== Opcode.DESTROY)
      return Errno.ENOENT;
    switch (opcode) {
      case Opcode.INIT:
        return initReply();
      case Opcode.LOOKUP: {
        const [number, found] = this.#named(request) ?? [];
        return number === undefined || !found ? Errno.ENOENT : entryReply(number, found.file.sizeBytes);
      }
      case Opcode.GETATTR:
        return attributesReply(id, node?.file.sizeBytes);
      case Opcode.OPEN:
        if (node) node.users++;
        return openReply();
      case Opcode.RELEASE:
        if (node) node.users--;
        return Buffer.alloc(0);
      case Opcode.READ: {
        const { offset, length } = readArguments(body);
        return node ? node.file.read(offset, length) : Errno.EIO;
      }
      case Opcode.OPENDIR:
        return openReply();
      case Opcode.READDIR:
      case Opcode.RELEASEDIR:
      case Opcode.FLUSH:
      case Opcode.ACCESS:
      case Opcode.DESTROY:
        return Buffer.alloc(0);
      case Opcode.STATFS:
        return statfsReply();
      default:
        return Errno.ENOSYS;
    }
  }
}
