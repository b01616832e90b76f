import { connect, type Socket } from "node:net";

/**
 * A small NBD client that shares no code with the server: it speaks the protocol as its specification has it
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), so that both sides cannot be wrong together.
 */
export interface Reply {
  /** 0, or the number of the error. */
  error: number;
  /** What a read brought. */
  data: Buffer;
}

interface Pending {
  resolve(reply: Reply): void;
  reject(error: Error): void;
  /** Length of a read, whose data is collected in `data`. */
  data: Buffer;
  error: number;
  offset: number;
  isRead: boolean;
}

export const READ = 0;
export const WRITE = 1;
export const DISCONNECT = 2;
export const FLUSH = 3;
export const TRIM = 4;
export const WRITE_ZEROES = 6;
export const FUA = 1;

export class TestClient implements Disposable {
  readonly socket: Socket;
  readonly #structured: boolean;
  readonly #pending = new Map<bigint, Pending>();
  #chunks: Buffer[] = [];
  #waiting = 0;
  #needed = 1;
  #wake: (() => void) | undefined;
  #gone: Error | undefined;
  #cookie = 1n;
  size = 0;

  private constructor(socketPath: string, structured: boolean) {
    this.#structured = structured;
    this.socket = connect(socketPath);
    this.socket.on("data", (bytes) => {
      this.#chunks.push(bytes);
      this.#waiting += bytes.length;
      if (this.#waiting >= this.#needed) this.#wake?.();
    });
    const gone = (error?: Error) => {
      this.#gone ??= error ?? new Error("the server has closed the connection");
      this.#wake?.();
      for (const pending of this.#pending.values()) pending.reject(this.#gone);
      this.#pending.clear();
    };
    this.socket.on("error", gone);
    this.socket.on("close", () => gone());
  }

  /** @throws when the server refuses the export, or hangs up. */
  static async connect(socketPath: string, name: string, { structured = true } = {}): Promise<TestClient> {
    const client = new TestClient(socketPath, structured);
    try {
      await client.#negotiate(name);
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
    void client.#receive();
    return client;
  }

  read(offset: number, length: number): Promise<Reply> {
    return this.request(READ, offset, length);
  }

  write(offset: number, data: Buffer, flags = 0): Promise<Reply> {
    return this.request(WRITE, offset, data.length, flags, data);
  }

  request(command: number, offset: number, length: number, flags = 0, data?: Buffer): Promise<Reply> {
    const cookie = this.#cookie++;
    const header = Buffer.alloc(28);
    header.writeUInt32BE(0x25609513, 0);
    header.writeUInt16BE(flags, 4);
    header.writeUInt16BE(command, 6);
    header.writeBigUInt64BE(cookie, 8);
    header.writeBigUInt64BE(BigInt(offset), 16);
    header.writeUInt32BE(length, 24);
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(this.#gone);
      const isRead = command === READ;
      const room = Buffer.alloc(isRead && length <= 2 ** 25 ? length : 0);
      this.#pending.set(cookie, { resolve, reject, data: room, error: 0, offset, isRead });
      this.socket.write(data === undefined ? header : Buffer.concat([header, data]));
    });
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  async #negotiate(name: string): Promise<void> {
    const greeting = await this.#take(18);
    if (greeting.toString("latin1", 0, 16) !== "NBDMAGICIHAVEOPT") throw new Error("no NBD greeting");
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(3);
    this.socket.write(flags);
    if (this.#structured) {
      this.socket.write(option(8, Buffer.alloc(0)));
      await this.#optionReplies();
    }
    this.socket.write(option(7, goData(name)));
    for (const { type, data } of await this.#optionReplies()) {
      if (type === 3 && data.readUInt16BE(0) === 0) this.size = Number(data.readBigUInt64BE(2));
    }
  }

  /** Replies to one option, up to its acknowledgement. */
  async #optionReplies(): Promise<{ type: number; data: Buffer }[]> {
    const replies: { type: number; data: Buffer }[] = [];
    for (;;) {
      const header = await this.#take(20);
      const type = header.readUInt32BE(12);
      const data = await this.#take(header.readUInt32BE(16));
      if (type >= 0x80000000) throw new Error(`option refused: 0x${type.toString(16)} ${data.toString()}`);
      replies.push({ type, data });
      if (type === 1) return replies;
    }
  }

  async #receive(): Promise<void> {
    try {
      for (;;) await this.#reply();
    } catch (error) {
      this.socket.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #reply(): Promise<void> {
    const magic = (await this.#take(4)).readUInt32BE(0);
    if (magic === 0x67446698) {
      const rest = await this.#take(12);
      const cookie = rest.readBigUInt64BE(4);
      const pending = this.#find(cookie);
      pending.error = rest.readUInt32BE(0);
      if (pending.isRead && this.#structured) throw new Error("a read was answered with a simple reply");
      if (pending.isRead && pending.error === 0)
        pending.data = Buffer.from(await this.#take(pending.data.length));
      this.#settle(cookie, pending);
      return;
    }
    if (magic !== 0x668e33ef) throw new Error(`bad reply magic 0x${magic.toString(16)}`);
    const header = await this.#take(16);
    const cookie = header.readBigUInt64BE(4);
    const payload = await this.#take(header.readUInt32BE(12));
    const pending = this.#find(cookie);
    const type = header.readUInt16BE(2);
    if (type === 1) payload.copy(pending.data, Number(payload.readBigUInt64BE(0)) - pending.offset, 8);
    else if (type === 0x8001) pending.error = payload.readUInt32BE(0);
    else if (type !== 0) throw new Error(`unexpected chunk of type ${type}`);
    if ((header.readUInt16BE(0) & 1) !== 0) this.#settle(cookie, pending);
  }

  #find(cookie: bigint): Pending {
    const pending = this.#pending.get(cookie);
    if (pending === undefined) throw new Error(`answer to a request never made: ${cookie}`);
    return pending;
  }

  #settle(cookie: bigint, pending: Pending): void {
    this.#pending.delete(cookie);
    pending.resolve({ error: pending.error, data: pending.data });
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#waiting < length) {
      if (this.#gone) throw this.#gone;
      this.#needed = length;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const [first] = this.#chunks;
    const input = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#chunks = input.length > length ? [input.subarray(length)] : [];
    this.#waiting -= length;
    return input.subarray(0, length);
  }
}

export function option(number: number, data: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.write("IHAVEOPT", 0, "latin1");
  header.writeUInt32BE(number, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

export function goData(name: string): Buffer {
  const bytes = Buffer.from(name);
  const data = Buffer.alloc(6 + bytes.length);
  data.writeUInt32BE(bytes.length, 0);
  bytes.copy(data, 4);
  return data;
}
