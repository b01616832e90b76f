import { open } from "node:fs/promises";

/** How much of a log's end is told. */
const LAST_WORDS_BYTES = 2_000;

/** The end of a log, or an empty string when there is none. */
export async function lastWords(path: string): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, LAST_WORDS_BYTES));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8", 0, bytesRead).trim();
  } catch {
    return ""; // It is told beside what else is known of an end: without it that still says something.
  }
}
