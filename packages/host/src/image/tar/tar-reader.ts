import type { ByteString } from "../byte-string.ts";
import { show } from "../byte-string.ts";
import { damaged, invalid } from "../invalid.ts";
import { buildTarEntry } from "./build-entry.ts";
import { MAX_ENTRIES, MAX_EXTENSION_BYTES, MAX_METADATA_BYTES, MAX_TRAILING_BYTES } from "./limits.ts";
import { decodePaxRecords, type PaxRecords } from "./pax.ts";
import type { TarEntry, TarHandler } from "./tar-entry.ts";
import { decodeUstarHeader, TAR_BLOCK } from "./ustar-header.ts";

const ZERO_BLOCK = Buffer.alloc(TAR_BLOCK);

/**
 * Reads a tar archive that is pushed into it in pieces of any size: ustar, PAX and GNU long names, as podman, GNU tar
 * and tar-stream print them. Everything is bytes throughout: the readers on npm decode PAX values as UTF-8, which
 * destroys `security.capability` and names that are not UTF-8, and pass over malformed headers in silence.
 *
 *     header → [extension body → header]* → content → padding → header … → zero block, zero block → zeros
 */
export class TarReader {
  readonly #handler: TarHandler;
  /** The block or extension body that is being gathered, when it came in pieces. */
  #pending = Buffer.alloc(0);
  #state: "header" | "extension" | "content" | "padding" | "end" = "header";
  /** Bytes still to come in the states `extension`, `content` and `padding`. */
  #remaining = 0;
  #padding = 0;
  #extensionType = "";
  #zeroBlocks = 0;
  #position = 0;
  #entries = 0;
  #metadataBytes = 0;
  #trailingBytes = 0;
  #globalPax: PaxRecords = new Map();
  #pax: PaxRecords | undefined;
  #longPath: ByteString | undefined;
  #longLinkPath: ByteString | undefined;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#position;
  }

  /** Entries begun so far. */
  get entries(): number {
    return this.#entries;
  }

  /** @throws KilnError `IMAGE_INVALID` when the archive is not one, and whatever the handler throws. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const from = at;
      switch (this.#state) {
        case "header": {
          const block = this.#gather(chunk, at, TAR_BLOCK);
          at += block.taken;
          this.#position += block.taken;
          if (block.bytes !== undefined) this.#header(block.bytes);
          break;
        }
        case "extension": {
          const body = this.#gather(chunk, at, this.#remaining);
          at += body.taken;
          this.#position += body.taken;
          if (body.bytes !== undefined) this.#extension(body.bytes);
          break;
        }
        case "content": {
          at += Math.min(this.#remaining, chunk.length - at);
          this.#remaining -= at - from;
          this.#position += at - from;
          this.#handler.data(chunk.subarray(from, at));
          if (this.#remaining === 0) this.#endOfContent();
          break;
        }
        case "padding": {
          at += Math.min(this.#remaining, chunk.length - at);
          this.#remaining -= at - from;
          this.#position += at - from;
          if (this.#remaining === 0) this.#state = "header";
          break;
        }
        case "end": {
          if (chunk.subarray(at).some((byte) => byte !== 0))
            throw damaged("the tar goes on after its end marker");
          this.#trailingBytes += chunk.length - at;
          if (this.#trailingBytes > MAX_TRAILING_BYTES)
            throw damaged("the tar does not end after its end marker");
          this.#position += chunk.length - at;
          return;
        }
      }
    }
  }

  /** The archive has no more bytes. @throws KilnError `IMAGE_INVALID` when it ended too early. */
  end(): void {
    if (this.#state === "end") return;
    throw damaged(`the tar ends after ${this.#position} bytes, before its end marker: it was cut short`);
  }

  /** `size` bytes in one piece, out of `chunk` where they are whole, else gathered over several calls. */
  #gather(chunk: Buffer, at: number, size: number): { bytes: Buffer | undefined; taken: number } {
    const taken = Math.min(size - this.#pending.length, chunk.length - at);
    const piece = chunk.subarray(at, at + taken);
    if (this.#pending.length + taken < size) {
      this.#pending = Buffer.concat([this.#pending, piece]);
      return { bytes: undefined, taken };
    }
    const bytes = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
    this.#pending = Buffer.alloc(0);
    return { bytes, taken };
  }

  #header(block: Buffer): void {
    if (block.equals(ZERO_BLOCK)) {
      if (this.#hasExtensions()) throw damaged("the tar ends between an extension header and its entry");
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = "end";
      return;
    }
    if (this.#zeroBlocks > 0) throw damaged("the tar has a lone zero block between its entries");

    const header = decodeUstarHeader(block, this.#position - TAR_BLOCK);
    if ("xgLK".includes(header.typeFlag)) {
      if (header.size < 1 || header.size > MAX_EXTENSION_BYTES) {
        throw damaged(
          `the tar has an extension header of ${header.size} bytes (limit ${MAX_EXTENSION_BYTES})`,
        );
      }
      this.#extensionType = header.typeFlag;
      this.#padding = paddingOf(header.size);
      this.#remaining = header.size;
      this.#state = "extension";
      return;
    }
    this.#entries++;
    if (this.#entries > MAX_ENTRIES) throw invalid(`the tar has more than ${MAX_ENTRIES} entries`);
    const entry = buildTarEntry(header, {
      pax: this.#pax,
      globalPax: this.#globalPax,
      longPath: this.#longPath,
      longLinkPath: this.#longLinkPath,
    });
    this.#pax = undefined;
    this.#longPath = undefined;
    this.#longLinkPath = undefined;

    this.#metadataBytes += metadataBytes(entry);
    if (this.#metadataBytes > MAX_METADATA_BYTES) {
      throw damaged(
        `the names and extended attributes in the tar take more than ${MAX_METADATA_BYTES} bytes`,
      );
    }
    this.#handler.entry(entry);
    this.#padding = paddingOf(entry.size);
    this.#remaining = entry.size;
    if (entry.size === 0) this.#endOfContent();
    else this.#state = "content";
  }

  #hasExtensions(): boolean {
    return this.#pax !== undefined || this.#longPath !== undefined || this.#longLinkPath !== undefined;
  }

  #endOfContent(): void {
    this.#handler.entryEnd();
    this.#skipPadding();
  }

  #skipPadding(): void {
    this.#remaining = this.#padding;
    this.#state = this.#padding === 0 ? "header" : "padding";
  }

  #extension(body: Buffer): void {
    switch (this.#extensionType) {
      case "x":
        if (this.#pax !== undefined) throw damaged("the tar has two PAX headers for one entry");
        this.#pax = decodePaxRecords(body);
        break;
      case "g":
        for (const [key, value] of decodePaxRecords(body)) this.#globalPax.set(key, value);
        break;
      case "L":
        this.#longPath = untilNul(body);
        break;
      case "K":
        this.#longLinkPath = untilNul(body);
        break;
      default:
        throw damaged(`the tar has an unknown extension header ${show(this.#extensionType)}`);
    }
    this.#skipPadding();
  }
}

function metadataBytes(entry: TarEntry): number {
  let sum = entry.path.length + entry.linkPath.length;
  for (const [name, value] of entry.xattrs) sum += name.length + value.length;
  return sum;
}

function paddingOf(size: number): number {
  const over = size % TAR_BLOCK;
  return over === 0 ? 0 : TAR_BLOCK - over;
}

function untilNul(body: Buffer): ByteString {
  const end = body.indexOf(0);
  return body.toString("latin1", 0, end === -1 ? body.length : end);
}
