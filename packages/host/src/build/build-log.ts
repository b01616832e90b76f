import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { finished } from "node:stream/promises";

/** A log is cut at this many bytes: a step that writes without end must not fill the disk. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;
const TAIL_LINES = 40;

/** A build's log on disk, and its last lines in memory for the error message. */
export interface BuildLog extends AsyncDisposable {
  readonly path: string;
  write(line: string): void;
  /** The last 40 lines since `markStep`. */
  tail(): string[];
  /** Forgets the tail: what follows belongs to another step. */
  markStep(): void;
}

export async function openBuildLog(path: string): Promise<BuildLog> {
  await mkdir(dirname(path), { recursive: true });
  const file = createWriteStream(path, { flags: "w" });
  // A log that cannot be written must not end the build; the tail is kept in memory.
  file.on("error", () => {});
  let written = 0;
  let tail: string[] = [];
  return {
    path,
    write(line) {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      if (written > MAX_LOG_BYTES) return;
      written += Buffer.byteLength(line) + 1;
      file.write(written > MAX_LOG_BYTES ? "(the log is cut here)\n" : `${line}\n`);
    },
    tail: () => tail,
    markStep: () => {
      tail = [];
    },
    async [Symbol.asyncDispose]() {
      file.end();
      await finished(file).catch(() => {});
    },
  };
}
