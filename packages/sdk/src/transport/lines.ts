import { KilnError } from "../errors.ts";

/** Longest line a daemon sends. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * Values of a stream of JSON lines. A last line without its newline was cut off and is not a value.
 * @throws KilnError `INTERNAL` for what is no such stream.
 */
export async function* decodeLines(source: AsyncIterable<Buffer>): AsyncGenerator<unknown, void> {
  let pending: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...pending, chunk.subarray(from, at)]).toString("utf8");
      pending = [];
      size = 0;
      from = at + 1;
      if (line.trim() !== "") yield parse(line);
    }
    if (from === chunk.length) continue;
    pending.push(chunk.subarray(from));
    size += chunk.length - from;
    if (size > MAX_LINE_BYTES) throw new KilnError("INTERNAL", `a line of more than ${MAX_LINE_BYTES} bytes`);
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new KilnError("INTERNAL", `not a line of JSON: ${line.slice(0, 100)}`, { cause });
  }
}
