import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { MAP_FILE } from "./diff.ts";
import { decodeHeader, HEADER_SIZE } from "./diff-header.ts";

/**
 * Whether the diff in `directory` is sealed. False as well when there is none.
 * @throws KilnError `IMAGE_INVALID` when it is damaged.
 */
export async function isSealed(directory: string): Promise<boolean> {
  const path = join(directory, MAP_FILE);
  if (!existsSync(path)) return false;
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_SIZE), 0, HEADER_SIZE, 0);
  return decodeHeader(buffer.subarray(0, bytesRead), path).sealed;
}
