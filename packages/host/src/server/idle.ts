import type { App } from "./app-type.ts";
import type { DaemonContext } from "./context.ts";

/** Calls `onIdle` when for `ms` no request was under way, no sandbox was there and nothing was being built. */
export function exitWhenIdle(
  apps: App[],
  { sandboxes, builds, closing }: DaemonContext,
  ms: number,
  onIdle: () => void,
): void {
  let open = 0;
  let since = performance.now();
  for (const app of apps) {
    app.server.on("request", (_request, response) => {
      open += 1;
      response.once("close", () => {
        open -= 1;
        since = performance.now();
      });
    });
  }
  const timer = setInterval(
    () => {
      const busy =
        open > 0 ||
        sandboxes.list().some(({ state }) => state !== "paused" && state !== "dead") ||
        builds.list().some(({ finished_at }) => finished_at === undefined);
      if (busy) since = performance.now();
      else if (performance.now() - since >= ms) onIdle();
    },
    Math.min(1000, ms),
  );
  timer.unref();
  closing.addEventListener("abort", () => clearInterval(timer));
}
