/**
 * What chunk size costs and saves: cuts images by content and at fixed places, in several sizes, and counts chunks,
 * bytes compressed, and what a second image shares with the first.
 *
 *     node bench/store/chunk-size.ts IMAGE [IMAGE ...]
 *
 * Images are taken in order: each is compared with all before it.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { cutFile, type Piece } from "../../packages/host/src/store/chunker.ts";
import { compressChunk } from "../../packages/host/src/store/format/chunk.ts";
import { digestOf } from "../../packages/host/src/store/format/digest.ts";

const MIB = 1024 * 1024;
const MEAN_KIB = (process.env.MEAN_KIB ?? "64,128,256,1024").split(",").map(Number);
const AT_ONCE = 8;
const ZEROS = Buffer.alloc(4 * MIB);

async function* cutFixed(file: FileHandle, sizeBytes: number, blocks: number): AsyncGenerator<Piece> {
  const content = Buffer.alloc(blocks * 4096);
  for (let block = 0; block * 4096 < sizeBytes; block += blocks) {
    const { bytesRead } = await file.read(content, 0, content.length, block * 4096);
    if (content.compare(ZEROS, 0, bytesRead, 0, bytesRead) === 0) continue;
    yield { block, blocks, content: Buffer.from(content.subarray(0, bytesRead)) };
  }
}

interface Tally {
  chunks: number;
  bytes: number;
  stored: number;
  newStored: number;
}

async function measure(
  path: string,
  meanKib: number,
  fixed: boolean,
  seen: Map<string, number>,
): Promise<Tally> {
  await using file = await open(path, "r");
  const { size } = await stat(path);
  const blocks = meanKib / 4;
  const tally: Tally = { chunks: 0, bytes: 0, stored: 0, newStored: 0 };
  const under = new Set<Promise<void>>();
  const take = async ({ content }: Piece) => {
    const digest = digestOf(content);
    tally.chunks++;
    tally.bytes += content.length;
    let stored = seen.get(digest);
    if (stored === undefined) {
      stored = compressChunk(content).bytes.length;
      seen.set(digest, stored);
      tally.newStored += stored;
    }
    tally.stored += stored;
  };
  for await (const piece of fixed
    ? cutFixed(file, size, blocks)
    : cutFile(file, size, { meanBlocks: blocks })) {
    const work: Promise<void> = take(piece).finally(() => under.delete(work));
    under.add(work);
    if (under.size >= AT_ONCE) await Promise.race(under);
  }
  await Promise.all(under);
  return tally;
}

const images = process.argv.slice(2);
console.log("cut      mean KiB  image                         chunks  MiB  stored MiB  new MiB    s");
for (const meanKib of MEAN_KIB) {
  for (const fixed of [false, true]) {
    const seen = new Map<string, number>();
    for (const path of images) {
      const started = performance.now();
      const { chunks, bytes, stored, newStored } = await measure(path, meanKib, fixed, seen);
      const columns = [
        (fixed ? "fixed" : "content").padEnd(8),
        String(meanKib).padStart(8),
        ` ${path.split("/").slice(-2).join("/").slice(-28).padEnd(28)}`,
        String(chunks).padStart(7),
        (bytes / MIB).toFixed(0).padStart(4),
        (stored / MIB).toFixed(1).padStart(11),
        (newStored / MIB).toFixed(1).padStart(8),
        ((performance.now() - started) / 1000).toFixed(1).padStart(4),
      ];
      console.log(columns.join(" "));
    }
  }
}
