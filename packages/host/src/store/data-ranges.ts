import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { promisify } from "node:util";
import { BLOCK } from "./format/limits.ts";

/** Blocks that belong to a file without being its content: its extents' index. */
const MAX_INDEX_BYTES = 1024 * 1024;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** A stretch of a file in blocks of 4096 bytes. */
export interface Range {
  block: number;
  end: number;
}

/**
 * Where a file is not a hole, in order, or undefined where that cannot be found out: then all of it has to be read. Node.js cannot ask for it,
 * and to read gigabytes of holes takes seconds; filefrag(8) of e2fsprogs can, on most file systems.
 */
export async function dataRanges(path: string): Promise<Range[] | undefined> {
  try {
    const env = { ...process.env, LC_ALL: "C" };
    // -s: what is still in memory gets its place on the disk first.
    const { stdout } = await promisify(execFile)("filefrag", ["-s", "-e", `-b${BLOCK}`, path], {
      maxBuffer: MAX_OUTPUT,
      env,
    });
    const ranges = parse(stdout);
    const { blocks } = await stat(path);
    // A file system that does not tell of everything must not make data look like a hole.
    const told = ranges.reduce((sum, { block, end }) => sum + (end - block) * BLOCK, 0);
    return told + MAX_INDEX_BYTES >= blocks * 512 ? ranges : undefined;
  } catch {
    return undefined;
  }
}

/** Lines are as in `   3:     4096..    6143:   13312..  15359:   2048:   10240: last,eof`. */
export function parse(output: string): Range[] {
  const ranges: Range[] = [];
  for (const [, first, last] of output.matchAll(/^\s*\d+:\s*(\d+)\.\.\s*(\d+):/gm)) {
    const block = Number(first);
    const end = Number(last) + 1;
    const before = ranges.at(-1);
    if (before && block < before.end) throw new Error("extents overlap");
    if (before && block === before.end) before.end = end;
    else ranges.push({ block, end });
  }
  return ranges;
}
