import { BLOCK_SIZE } from "./geometry.ts";
import { LOWER_ZERO, type Lower } from "./lower.ts";

/** `count` blocks from `block` on, as a disk on top of `lower` would show them. */
export function readLower(lower: Lower, block: number, count: number): Buffer {
  const target = Buffer.alloc(count * BLOCK_SIZE);
  const { table, layers } = lower;
  for (let at = 0; at < count; ) {
    const index = table?.[block + at] ?? 0;
    let run = 1;
    while (at + run < count && (table?.[block + at + run] ?? 0) === index) run++;
    if (index !== LOWER_ZERO) {
      layers[index]?.read(target, at * BLOCK_SIZE, run * BLOCK_SIZE, (block + at) * BLOCK_SIZE);
    }
    at += run;
  }
  return target;
}
