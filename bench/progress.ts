import type { ProgressEvent } from "../packages/host/src/progress.ts";

/** One line on standard error for each stage that ended or failed: what a figure waits for is not a secret. */
export function printProgress({ stage, status, ms }: ProgressEvent): void {
  if (status === "start") process.stderr.write(`bench: ${stage} …\n`);
  if (status === "done" || status === "failed") {
    process.stderr.write(`bench: ${stage} ${status} after ${((ms ?? 0) / 1000).toFixed(1)} s\n`);
  }
}
