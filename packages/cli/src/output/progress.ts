import type { OnProgress, ProgressEvent } from "@kiln/host/progress.ts";
import type { Ora } from "ora";

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const percent = (fraction: number) => `${Math.floor(fraction * 100)} %`;

function describe(event: ProgressEvent): string {
  const parts = [event.fraction === undefined ? "" : percent(event.fraction), event.message ?? ""];
  return parts.filter((part) => part !== "").join(" ");
}

/**
 * Shows stages of long work on standard error: a spinner on a terminal, plain lines elsewhere. Loads the spinner only
 * when there is something to show.
 */
export function createProgress(): OnProgress {
  return process.stderr.isTTY ? terminalProgress() : plainProgress();
}

/** Least time between two messages of one stage where every message is a line. */
const LINE_INTERVAL_MS = 2_000;

/** One line for every stage's beginning and end, and now and then one for what happens in between. */
function plainProgress(): OnProgress {
  const lastAt = new Map<string, number>();
  return (event) => {
    const { stage, status, ms = 0 } = event;
    const now = performance.now();
    if (status === "start") process.stderr.write(`kiln: ${stage} …\n`);
    else if (status === "done") process.stderr.write(`kiln: ${stage}: done in ${seconds(ms)}\n`);
    else if (status === "failed") process.stderr.write(`kiln: ${stage}: failed after ${seconds(ms)}\n`);
    else if (
      event.message !== undefined &&
      now - (lastAt.get(stage) ?? -LINE_INTERVAL_MS) >= LINE_INTERVAL_MS
    ) {
      lastAt.set(stage, now);
      process.stderr.write(`kiln: ${stage}: ${describe(event)}\n`);
    }
  };
}

/** A spinner that shows the stage begun last; finished stages stay as lines with their time. */
function terminalProgress(): OnProgress {
  const running = new Map<string, string>();
  let spinner: Ora | undefined;
  const loading = import("ora").then(({ default: ora }) => {
    spinner = ora({ stream: process.stderr, discardStdin: false });
    show();
  });
  loading.catch(() => undefined);
  const show = () => {
    if (!spinner) return;
    const width = (process.stderr.columns ?? 80) - 4;
    const text = [...running]
      .map(([stage, message]) => (message === "" ? stage : `${stage}: ${message}`))
      .join(" · ");
    if (running.size === 0) spinner.stop();
    else spinner.start(text.slice(0, width));
  };
  return (event) => {
    const { stage, status, ms = 0 } = event;
    if (status === "start") running.set(stage, "");
    else if (status === "update") running.set(stage, describe(event));
    else {
      running.delete(stage);
      spinner?.stop();
      process.stderr.write(`${status === "done" ? "✔" : "✖"} ${stage} ${seconds(ms)}\n`);
    }
    show();
  };
}
