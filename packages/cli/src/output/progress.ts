import type { BuildEvent } from "@kiln/sdk/types.ts";
import type { Ora } from "ora";

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const percent = (fraction: number) => `${Math.floor(fraction * 100)} %`;

export type OnProgress = (event: BuildEvent) => void;

function describe({ fraction, message }: Extract<BuildEvent, { type: "message" }>): string {
  return fraction === undefined ? message : `${percent(fraction)} ${message}`;
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
    if (event.type === "end") return;
    const { stage } = event;
    const say = (text: string) => process.stderr.write(`kiln: ${stage}${text}\n`);
    if (event.type === "stage") {
      const { status, elapsedMs = 0 } = event;
      if (status === "started") say(" …");
      else say(`: ${status === "done" ? "done in" : "failed after"} ${seconds(elapsedMs)}`);
      return;
    }
    const now = performance.now();
    if (now - (lastAt.get(stage) ?? -LINE_INTERVAL_MS) < LINE_INTERVAL_MS) return;
    lastAt.set(stage, now);
    say(`: ${describe(event)}`);
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
    if (event.type === "end") running.clear();
    else if (event.type === "message") running.set(event.stage, describe(event));
    else if (event.status === "started") running.set(event.stage, "");
    else {
      running.delete(event.stage);
      spinner?.stop();
      process.stderr.write(
        `${event.status === "done" ? "✔" : "✖"} ${event.stage} ${seconds(event.elapsedMs ?? 0)}\n`,
      );
    }
    show();
  };
}
