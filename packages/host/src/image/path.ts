import type { ByteString } from "./byte-string.ts";
import { show } from "./byte-string.ts";
import { invalid } from "./invalid.ts";

/** Bytes of one name, as ext4 limits them. */
const MAX_NAME_BYTES = 255;
/** Directories above a file. Deeper ones cannot be named by a path of 4,095 bytes anyway; walks may recurse. */
export const MAX_DEPTH = 1024;

/**
 * Names from the root down: `"./usr//bin/"` and `"/usr/bin"` are both `["usr", "bin"]`, the root is `[]`.
 * @throws KilnError `IMAGE_INVALID` for `..`, for names over 255 bytes and paths over 1,024 names.
 */
export function splitPath(path: ByteString): ByteString[] {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.length > MAX_DEPTH) throw invalid(`${show(path)} has more than ${MAX_DEPTH} names`);
  for (const name of names) {
    if (name === "..") throw invalid(`${show(path)} has ".." in its path`);
    if (name.length > MAX_NAME_BYTES)
      throw invalid(`${show(path)} has a name longer than ${MAX_NAME_BYTES} bytes`);
  }
  return names;
}

/** `./usr//bin/` as `/usr/bin`; the root is empty. @throws as {@link splitPath}. */
export function normalisePath(path: ByteString): ByteString {
  return splitPath(path)
    .map((name) => `/${name}`)
    .join("");
}
