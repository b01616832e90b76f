import { spawn } from "node:child_process";
import { once } from "node:events";
import { KilnError } from "@kiln/sdk/errors.ts";

/** What is kept of tar's complaints, in characters. */
const MAX_COMPLAINT = 2_000;

/** A directory of this machine as a tar stream, by tar(1). Leaving the loop early ends it. */
export async function* packDirectory(path: string, signal: AbortSignal): AsyncGenerator<Buffer, void> {
  const words = [
    "--create",
    "--file=-",
    "--numeric-owner",
    "--sort=name",
    "--format=pax",
    `--directory=${path}`,
    ".",
  ];
  const tar = spawn("tar", words, { stdio: ["ignore", "pipe", "pipe"], signal });
  let complaint = "";
  tar.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  const closed = once(tar, "close") as Promise<[number | null]>;
  closed.catch(() => undefined);
  try {
    yield* tar.stdout as AsyncIterable<Buffer>;
    const [code] = await closed;
    // 1: a file changed while it was read.
    if (code === null || code > 1) {
      throw new KilnError(
        "USAGE",
        `cannot pack ${path}: ${complaint.trim().split("\n").at(-1) ?? `tar ended with ${code}`}`,
      );
    }
  } finally {
    tar.kill("SIGKILL");
  }
}
