import { type FileHandle, open } from "node:fs/promises";
import { type ChunkerOptions, cutFile, longestPiece } from "./chunker.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { dataRanges } from "./data-ranges.ts";
import type { StoredChunk } from "./format/chunk.ts";
import { digestOf } from "./format/digest.ts";
import { encodeImageManifest, type Pack } from "./format/image-manifest.ts";
import type { KnownChunks, Slot } from "./known-chunks.ts";
import { ChunkBatch } from "./threads/chunk-batch.ts";
import type { Compressed } from "./threads/chunk-jobs.ts";
import type { ChunkThreads } from "./threads/chunk-threads.ts";

/**
 * Mean size of a chunk, in blocks: 64 KiB of a file, 32 KiB of memory, of which a guest touches scattered pages. docs/store.md has the
 * measurement behind it.
 */
const MEAN_BLOCKS = { file: 16, memory: 8 };
/** Packs are sent when they are this long, in bytes: long enough that requests cost nothing, short enough to send several at once. */
const PACK_BYTES = 8 * 1024 * 1024;
/** Packs that are being sent. */
const SENDING = 4;

export interface PushCounters {
  /** Bytes of content that were gone through. */
  read: number;
  /** Bytes of chunks that the store had already, as they are stored. */
  reused: number;
  /** Bytes sent. */
  sent: number;
  /** Bytes of packs that an earlier attempt had sent. */
  resumed: number;
}

export interface PushContext {
  store: ObjectStore;
  threads: ChunkThreads;
  known: KnownChunks;
  counters: PushCounters;
  /** Packs that the images refer to and this push has not sent. */
  reusedPacks: Map<string, number>;
  onProgress?: (() => void) | undefined;
  signal?: AbortSignal | undefined;
}

interface Placed {
  digest: string;
  block: number;
  blocks: number;
  slot: Slot;
}

/**
 * Stores a file as an image: what is new of it in packs, its manifest last.
 * @param options.memory whether it is a guest's memory.
 * @param options.counts whether a block counts; the others read as zeros.
 * @returns the manifest's address.
 */
export async function pushImage(
  context: PushContext,
  path: string,
  options: { memory?: boolean; counts?: ((block: number) => boolean) | undefined } = {},
): Promise<{ digest: string; sizeBytes: number }> {
  await using file = await open(path, "r");
  const { size } = await file.stat();
  const ranges = await dataRanges(path);
  const placed = await sendChunks(context, file, size, {
    counts: options.counts,
    ranges,
    meanBlocks: options.memory ? MEAN_BLOCKS.memory : MEAN_BLOCKS.file,
  });
  const { packs, chunks } = tabulate(context, placed);
  const manifest = encodeImageManifest({ sizeBytes: size, packs, chunks });
  const digest = digestOf(manifest);
  await send(context, keys.image(digest), manifest, digest);
  return { digest, sizeBytes: size };
}

async function sendChunks(
  context: PushContext,
  file: FileHandle,
  size: number,
  options: ChunkerOptions,
): Promise<Placed[]> {
  const { known, counters, threads, signal, onProgress } = context;
  const placed: Placed[] = [];
  const longest = longestPiece(options.meanBlocks);
  const packs = new PackSender(context, longest);
  const compressing: { batch: ChunkBatch<Slot>; compressed: Promise<Compressed> }[] = [];
  const spare: ChunkBatch<Slot>[] = [];
  const nextBatch = () => spare.pop() ?? new ChunkBatch<Slot>(longest);
  let batch = nextBatch();
  const compress = () => {
    const compressed = threads.run(batch.job());
    compressed.catch(() => undefined); // It is waited for in its turn.
    compressing.push({ batch, compressed });
    batch = nextBatch();
  };
  const takeOne = async () => {
    const first = compressing.shift();
    if (first === undefined) return;
    const { owners, target } = first.batch;
    let at = 0;
    for (const [index, { length, raw }] of (await first.compressed).entries()) {
      const slot = owners[index];
      if (slot) await packs.add(slot, { bytes: target.subarray(at, at + length), raw });
      at += length;
    }
    first.batch.clear();
    spare.push(first.batch);
  };
  try {
    for await (const { block, blocks, content } of cutFile(file, size, options)) {
      signal?.throwIfAborted();
      const digest = digestOf(content);
      let slot = known.get(digest);
      if (slot === undefined) {
        slot = { pack: undefined, offset: 0, stored: 0, raw: false };
        known.set(digest, slot);
        batch.add(slot, content);
        if (batch.isFull) compress();
        if (compressing.length > threads.atOnce) await takeOne();
      } else counters.reused += slot.stored;
      placed.push({ digest, block, blocks, slot });
      counters.read += content.length;
      onProgress?.();
    }
    if (!batch.isEmpty) compress();
    while (compressing.length > 0) await takeOne();
    await packs.finish();
  } catch (error) {
    await packs.settle();
    throw error;
  }
  return placed;
}

/** Gathers chunks in packs, in the order they come, and sends these, some at once. */
class PackSender {
  readonly #context: PushContext;
  readonly #sending = new Set<Promise<void>>();
  #slots: Slot[] = [];
  /** The pack that is being filled, and how much of it is. */
  #bytes: Buffer;
  #length = 0;
  /** Memory of packs that were sent. */
  readonly #spare: Buffer[] = [];
  readonly #capacity: number;

  /** @param longest chunk, in bytes. */
  constructor(context: PushContext, longest: number) {
    this.#context = context;
    this.#capacity = PACK_BYTES + longest;
    this.#bytes = this.#nextMemory();
  }

  async add(slot: Slot, { bytes, raw }: StoredChunk): Promise<void> {
    this.#bytes.set(bytes, this.#length);
    slot.offset = this.#length;
    slot.stored = bytes.length;
    slot.raw = raw;
    this.#slots.push(slot);
    this.#length += bytes.length;
    if (this.#length >= PACK_BYTES) await this.#seal();
  }

  async finish(): Promise<void> {
    if (this.#length > 0) await this.#seal();
    await Promise.all(this.#sending);
  }

  /** Waits for what is under way, whatever comes of it. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#sending);
  }

  async #seal(): Promise<void> {
    const memory = this.#bytes;
    const bytes = memory.subarray(0, this.#length);
    const pack: Pack = { digest: digestOf(bytes), length: bytes.length };
    for (const slot of this.#slots) slot.pack = pack;
    this.#slots = [];
    this.#bytes = this.#nextMemory();
    this.#length = 0;
    const sending: Promise<void> = sendPack(this.#context, pack, bytes).finally(() => {
      this.#sending.delete(sending);
      this.#spare.push(memory);
    });
    sending.catch(() => undefined); // `finish` throws it.
    this.#sending.add(sending);
    if (this.#sending.size >= SENDING) await Promise.race(this.#sending);
  }

  #nextMemory(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#capacity);
  }
}

/** What an interrupted push has sent is not sent again: the same content makes the same packs. */
async function sendPack(context: PushContext, pack: Pack, bytes: Buffer): Promise<void> {
  const { store, counters, signal } = context;
  const key = keys.pack(pack.digest);
  const present = await store.head(key, signal);
  if (present?.size === bytes.length) {
    counters.resumed += bytes.length;
    context.reusedPacks.set(pack.digest, pack.length);
    return;
  }
  await send(context, key, bytes, pack.digest);
}

async function send(
  { store, counters, signal, onProgress }: PushContext,
  key: string,
  bytes: Buffer,
  sha256: string,
): Promise<void> {
  await store.put(key, bytes, signal, sha256);
  counters.sent += bytes.length;
  onProgress?.();
}

/** The packs that the chunks lie in, each once, and the chunks with their pack's number. */
function tabulate(context: PushContext, placed: readonly Placed[]) {
  const packs: Pack[] = [];
  const numbers = new Map<string, number>();
  const chunks = placed.map(({ digest, block, blocks, slot }) => {
    const { pack, offset, stored, raw } = slot;
    if (pack === undefined) throw new Error("a chunk was not stored");
    let number = numbers.get(pack.digest);
    if (number === undefined) {
      number = packs.push(pack) - 1;
      numbers.set(pack.digest, number);
      context.reusedPacks.set(pack.digest, pack.length);
    }
    return { digest, block, blocks, pack: number, offset, stored, raw };
  });
  return { packs, chunks };
}
