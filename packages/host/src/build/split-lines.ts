import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

export type LineSink = (line: string, from: "stdout" | "stderr") => void;

/** A longer line is cut into pieces of this many characters, so that output without newlines cannot fill memory. */
const MAX_LINE = 16 * 1024;

/** Calls `onLine` with each line of `stream`, a progress bar's `\r` counting as a line's end; resolves at its end. */
export async function splitLines(stream: Readable, onLine: (line: string) => void): Promise<void> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of stream) {
    rest += decoder.write(chunk);
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) cut(line, onLine);
    if (rest.length > MAX_LINE) {
      cut(rest, onLine);
      rest = "";
    }
  }
  rest += decoder.end();
  if (rest !== "") cut(rest, onLine);
}

function cut(line: string, onLine: (line: string) => void): void {
  for (let at = 0; at === 0 || at < line.length; at += MAX_LINE) onLine(line.slice(at, at + MAX_LINE));
}
