import { Feed, type Parser } from "./feed.ts";
import { malformed } from "./malformed.ts";
import { PAGE_BYTES, type RamBlock, RamBlocks } from "./ram-block.ts";

/*
 * QEMU's migration stream, version 3, big-endian, as migration/savevm.c and migration/ram.c of QEMU 7.2 to 10.0 write it:
 *
 *     "QEVM" version(4)
 *     0x07 configuration: name length(4) name, subsections: 0x05 length(1) name version(4) fields
 *     0x01 section id(4) length(1) "ram" instance(4) version(4), records, 0x7e id(4)     start: the blocks
 *     0x02 section id(4), records, 0x7e id(4)                                            part: pages, any number of these
 *     0x03 section id(4), records, 0x7e id(4)                                            end: the last pages
 *     devices and their description, of which nothing needs to be known here
 *
 * A record is eight bytes: an address (a multiple of the page size), and flags in the bits below:
 *
 *     0x04 MEM_SIZE   address is the sum of: length(1) name bytes(8) guest-physical address(8), the latter for x-ignore-shared
 *     0x02 ZERO       a page of one byte's value(1)
 *     0x08 PAGE       page(4096)
 *     0x20 CONTINUE   beside these two: of the same block as the page before; else length(1) name come first
 *     0x10 EOS        end of the section's records
 */
const MAGIC = 0x5145564d;
const STREAM_VERSION = 3;
const RAM_VERSION = 4;

const CONFIGURATION = 0x07;
const SUBSECTION = 0x05;
const SECTION_START = 0x01;
const SECTION_PART = 0x02;
const SECTION_END = 0x03;
const COMMAND = 0x08;
const FOOTER = 0x7e;

const ZERO = 0x02;
const MEM_SIZE = 0x04;
const PAGE = 0x08;
const EOS = 0x10;
const CONTINUE = 0x20;

/** Longest machine name; "microvm" has seven. */
const MAX_MACHINE_NAME = 255;
/** Longest command; those met before the end of memory carry nothing. */
const MAX_COMMAND_BYTES = 64;
/** Device state of a microvm has some 70 KB. */
const MAX_STATE_BYTES = 64 * 1024 * 1024;

/** Takes the guest's memory, page by page in any order. */
export interface PageSink {
  /** `data` may be kept, and must not be changed. */
  page(offset: number, data: Buffer): void;
  zeroPage(offset: number): void;
}

/**
 * Separates a migration stream into guest memory and all the rest. The rest is a stream again: that of a machine whose memory was
 * ignored because it is in a file. The pages' content is the guest's, and nothing here looks at it.
 */
export class MigrationSplitter {
  readonly #feed: Feed;
  readonly #state: Buffer[] = [];
  #stateBytes = 0;

  /** @param main name and size in bytes of the block that is the guest's memory. */
  constructor(main: { name: string; bytes: number }, sink: PageSink) {
    const keep = (bytes: Buffer) => this.#keep(bytes);
    this.#feed = new Feed(parseUntilMemoryIsOver(new RamBlocks(main), sink, keep));
  }

  /** @throws KilnError `VM_FAILED` for a stream that is not understood. */
  push(chunk: Buffer): void {
    const rest = this.#feed.push(chunk);
    if (rest.length > 0) this.#keep(rest);
  }

  /** What is to be kept beside the memory. @throws KilnError `VM_FAILED` when the stream was cut before memory was over. */
  finish(): Buffer {
    if (!this.#feed.done) throw malformed("it was cut");
    return Buffer.concat(this.#state);
  }

  #keep(bytes: Buffer): void {
    this.#stateBytes += bytes.length;
    if (this.#stateBytes > MAX_STATE_BYTES) throw malformed("its device state has no end");
    this.#state.push(Buffer.from(bytes));
  }
}

type Keep = (bytes: Buffer) => void;

/** Reads up to the end of the last memory section; what follows is devices. */
function* parseUntilMemoryIsOver(blocks: RamBlocks, sink: PageSink, keep: Keep): Parser {
  const type = yield* parseHeader(keep);
  if (type !== SECTION_START) throw malformed(`it has ${hex(type)} where memory should be`);
  const section = yield* parseSectionStart(keep);
  yield* parseAnnouncement(blocks, keep);
  yield* parseFooter(section, keep);
  const pages = new PageRecords(blocks, sink, keep);
  while (true) {
    const next = yield* kept(1, keep);
    const kind = next.readUInt8();
    if (kind === COMMAND) yield* parseCommand(keep);
    else if (kind === SECTION_PART || kind === SECTION_END) {
      const id = (yield* kept(4, keep)).readUInt32BE();
      if (id !== section) throw malformed(`a section ${id} was not started`);
      yield* pages.parse();
      yield* parseFooter(section, keep);
      if (kind === SECTION_END) return;
    } else throw malformed(`it has ${hex(kind)} where memory should go on`);
  }
}

/** Magic, version and configuration; gives the type of the section that follows. */
function* parseHeader(keep: Keep): Generator<number, number, Buffer> {
  const header = yield* kept(9, keep);
  if (header.readUInt32BE() !== MAGIC) throw malformed("it begins with another magic number");
  const version = header.readUInt32BE(4);
  if (version !== STREAM_VERSION) throw malformed(`it is of version ${version}`);
  if (header.readUInt8(8) !== CONFIGURATION) throw malformed("it has no configuration");
  const nameLength = (yield* kept(4, keep)).readUInt32BE();
  if (nameLength === 0 || nameLength > MAX_MACHINE_NAME)
    throw malformed(`a machine's name has ${nameLength} bytes`);
  yield* kept(nameLength, keep);
  while (true) {
    const type = (yield* kept(1, keep)).readUInt8();
    if (type !== SUBSECTION) return type;
    yield* parseSubsection(keep);
  }
}

function* parseSubsection(keep: Keep): Generator<number, void, Buffer> {
  const name = yield* parseName(keep);
  yield* kept(4, keep);
  if (name !== "configuration/capabilities") throw malformed(`its configuration has "${name}"`);
  const count = (yield* kept(4, keep)).readUInt32BE();
  if (count !== 1) throw malformed(`it has ${count} capabilities`);
  const capability = yield* parseName(keep);
  if (capability !== "x-ignore-shared") throw malformed(`it has the capability "${capability}"`);
}

function* parseSectionStart(keep: Keep): Generator<number, number, Buffer> {
  const id = (yield* kept(4, keep)).readUInt32BE();
  const name = yield* parseName(keep);
  const versions = yield* kept(8, keep);
  const [instance, version] = [versions.readUInt32BE(), versions.readUInt32BE(4)];
  if (name !== "ram" || instance !== 0 || version !== RAM_VERSION) {
    throw malformed(`section "${name}", ${instance}, version ${version} comes before memory`);
  }
  return id;
}

/** The blocks there are. */
function* parseAnnouncement(blocks: RamBlocks, keep: Keep): Generator<number, void, Buffer> {
  const { address: total, flags } = record(yield* kept(8, keep));
  if (flags !== MEM_SIZE) throw malformed(`memory begins with a record ${hex(flags)}`);
  let announced = 0;
  while (announced < total) {
    const name = yield* parseName(keep);
    // Size, then guest-physical address: that of x-ignore-shared, whose presence the configuration has shown.
    const bytes = size(yield* kept(16, keep));
    blocks.add(name, bytes);
    announced += bytes;
  }
  if (announced !== total) throw malformed(`its blocks have ${announced} bytes in place of ${total}`);
  blocks.checkComplete();
  const end = record(yield* kept(8, keep));
  if (end.flags !== EOS || end.address !== 0)
    throw malformed(`a record ${hex(end.flags)} follows the blocks`);
}

function* parseFooter(section: number, keep: Keep): Generator<number, void, Buffer> {
  const footer = yield* kept(5, keep);
  if (footer.readUInt8() !== FOOTER || footer.readUInt32BE(1) !== section) {
    throw malformed("a section does not end where it should");
  }
}

/** QEMU 10 tells the other side that devices come next. */
function* parseCommand(keep: Keep): Generator<number, void, Buffer> {
  const command = yield* kept(4, keep);
  const length = command.readUInt16BE(2);
  if (length > MAX_COMMAND_BYTES) throw malformed(`command ${command.readUInt16BE()} has ${length} bytes`);
  if (length > 0) yield* kept(length, keep);
}

/** The pages in the sections of memory. Which block a page is of may depend on the page before, in another section as well. */
class PageRecords {
  readonly #blocks: RamBlocks;
  readonly #sink: PageSink;
  readonly #keep: Keep;
  #block: RamBlock | undefined;

  constructor(blocks: RamBlocks, sink: PageSink, keep: Keep) {
    this.#blocks = blocks;
    this.#sink = sink;
    this.#keep = keep;
  }

  *parse(): Generator<number, void, Buffer> {
    while (true) {
      const header = yield 8;
      const { address, flags } = record(header);
      if (flags === EOS) {
        if (address !== 0) throw malformed("the end of a section has an address");
        this.#keep(header);
        return;
      }
      const kind = flags & ~CONTINUE;
      if (kind !== PAGE && kind !== ZERO) throw malformed(`memory has a record ${hex(flags)}`);
      const name = flags & CONTINUE ? undefined : yield* nameBytes();
      if (name) this.#block = this.#blocks.get(name.toString("utf8", 1));
      const block = this.#block;
      if (!block) throw malformed("its first page is of no block");
      if (address >= block.bytes) throw malformed(`a page is at ${address} of ${block.bytes} bytes`);
      const content = yield kind === PAGE ? PAGE_BYTES : 1;
      if (!this.#blocks.isMain(block)) {
        // Records that are kept stay meaningful: a page that follows one that is not kept names its block.
        this.#keep(header);
        if (name) this.#keep(name);
        this.#keep(content);
      } else if (kind === PAGE) this.#sink.page(address, content);
      else if (content.readUInt8() === 0) this.#sink.zeroPage(address);
      else this.#sink.page(address, Buffer.alloc(PAGE_BYTES, content.readUInt8()));
    }
  }
}

/** Reads bytes that belong to the device state as well. */
function* kept(count: number, keep: Keep): Generator<number, Buffer, Buffer> {
  const bytes = yield count;
  keep(bytes);
  return bytes;
}

/** A name with the byte that tells its length. */
function* nameBytes(): Generator<number, Buffer, Buffer> {
  const length = yield 1;
  const count = length.readUInt8();
  if (count === 0) throw malformed("it has an empty name");
  return Buffer.concat([Buffer.from([count]), yield count]);
}

function* parseName(keep: Keep): Generator<number, string, Buffer> {
  const bytes = yield* nameBytes();
  keep(bytes);
  return bytes.toString("utf8", 1);
}

/** The eight bytes of a record's header. An address beyond what is exact in a number is beyond every block as well. */
function record(header: Buffer): { address: number; flags: number } {
  const low = header.readUInt32BE(4);
  const flags = low % PAGE_BYTES;
  return { address: header.readUInt32BE() * 2 ** 32 + (low - flags), flags };
}

/** A block's size in bytes. */
function size(bytes: Buffer): number {
  const value = bytes.readUInt32BE() * 2 ** 32 + bytes.readUInt32BE(4);
  if (!Number.isSafeInteger(value)) throw malformed("a block is beyond measure");
  return value;
}

const hex = (value: number): string => `0x${value.toString(16)}`;
