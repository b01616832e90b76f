import { mkdirSync, renameSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { KilnError } from "../../errors.ts";
import { isLazy } from "../../lazy/lazy-file.ts";
import { syncDirectory } from "../../os/atomic-file.ts";
import { BlockMap, forEachPresent } from "./block-map.ts";
import { DATA_FILE, Diff, MAP_FILE } from "./diff.ts";
import { encodeHeader } from "./diff-header.ts";
import { BLOCK_SIZE, DATA } from "./geometry.ts";

/** Longest piece that is copied at once, in bytes. */
const PIECE = 1024 * 1024;

/**
 * Makes one sealed diff in `target` of several sealed ones that lie on each other, lowest first. It has the identity of
 * the topmost and the parent of the lowest, so it can take their place below whatever was made on top of them. Data first,
 * the map's name last: a crash leaves a folder that is no diff.
 *
 * @throws KilnError `IMAGE_INVALID` when they are not sealed, or not a chain; `CANCELLED`; a Node.js system error.
 */
export async function mergeLayers(
  directories: readonly string[],
  target: string,
  signal?: AbortSignal,
): Promise<void> {
  using opened = new DisposableStack();
  const diffs = directories.map((directory) => {
    const diff = Diff.open(directory, "layer");
    opened.defer(() => diff.close());
    return diff;
  });
  const lowest = diffs[0];
  const topmost = diffs.at(-1);
  if (lowest === undefined || topmost === undefined)
    throw new KilnError("USAGE", "there is nothing to merge");
  checkChain(diffs);
  const partial = directories.find((directory) => isLazy(join(directory, DATA_FILE)));
  if (partial !== undefined) {
    throw new KilnError("CONFLICT", `${partial}: has not arrived as a whole yet`, {
      hint: "try again later",
    });
  }
  const { sizeBytes } = lowest.header;

  // Which diff holds a block: its number and one more.
  const holder = new Uint8Array(sizeBytes / BLOCK_SIZE);
  const merged = new Uint8Array(BlockMap.byteLength(sizeBytes));
  for (const [number, diff] of diffs.entries()) {
    forEachPresent(diff.map.bytes, (block, state) => {
      if (block >= holder.length) return;
      holder[block] = state === DATA ? number + 1 : 0;
      const shift = (block & 3) << 1;
      merged[block >> 2] = ((merged[block >> 2] ?? 0) & ~(3 << shift)) | (state << shift);
    });
  }
  mkdirSync(target, { recursive: true, mode: 0o700 });
  await copyData(diffs, holder, join(target, DATA_FILE), sizeBytes, signal);
  const unfinished = join(target, `${MAP_FILE}.new`);
  await using map = await open(unfinished, "w", 0o600);
  const { identity } = topmost.header;
  await map.writeFile(encodeHeader({ sizeBytes, identity, parent: lowest.header.parent, sealed: true }));
  await map.writeFile(merged);
  await map.datasync();
  renameSync(unfinished, join(target, MAP_FILE));
  await syncDirectory(target);
}

function checkChain(diffs: readonly Diff[]): void {
  for (const [number, diff] of diffs.entries()) {
    const below = diffs[number - 1];
    if (below === undefined) continue;
    const { parent, sizeBytes } = diff.header;
    if (parent === below.header.identity && sizeBytes === below.header.sizeBytes) continue;
    throw new KilnError("IMAGE_INVALID", `${diff.directory}: was made on top of something else`, {
      hint: "give layers that lie on each other, lowest first",
    });
  }
}

async function copyData(
  diffs: readonly Diff[],
  holder: Uint8Array,
  path: string,
  sizeBytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(PIECE);
  await using data = await open(path, "w", 0o600);
  await data.truncate(sizeBytes);
  await using files = new AsyncDisposableStack();
  const sources = await Promise.all(
    diffs.map(async ({ directory }) => files.use(await open(join(directory, DATA_FILE), "r"))),
  );
  for (let block = 0; block < holder.length; ) {
    const from = holder[block] ?? 0;
    let end = block + 1;
    while (end < holder.length && holder[end] === from && (end - block) * BLOCK_SIZE < PIECE) end++;
    const source = sources[from - 1];
    if (source !== undefined) {
      if (signal?.aborted) throw new KilnError("CANCELLED", "cancelled while layers were being merged");
      const position = block * BLOCK_SIZE;
      const length = (end - block) * BLOCK_SIZE;
      const { bytesRead } = await source.read(buffer, 0, length, position);
      if (bytesRead < length) {
        throw new KilnError("IMAGE_INVALID", `${diffs[from - 1]?.directory ?? ""}: the data was cut off`);
      }
      for (let done = 0; done < length; ) {
        done += (await data.write(buffer, done, length - done, position + done)).bytesWritten;
      }
    }
    block = end;
  }
  await data.datasync();
}
