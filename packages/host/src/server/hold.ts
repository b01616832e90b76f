import type { ManagedSandbox } from "../sandbox/managed-sandbox.ts";
import type { DaemonContext } from "./context.ts";
import { toSandbox } from "./schemas/sandbox.ts";

/** How long a held sandbox may be without a holder after its creation or a restart of the daemon, in milliseconds. */
export const HOLDER_GRACE_MS = 15_000;
/** A line this often shows a client that the daemon is there, in milliseconds. */
const HEARTBEAT_MS = 15_000;

const holders = new WeakMap<ManagedSandbox, number>();

/** Kills a held sandbox that nobody holds when its time of grace is over. */
export function expectHolder(
  { sandboxes, log }: Pick<DaemonContext, "sandboxes" | "log">,
  sandbox: ManagedSandbox,
): void {
  if (!sandbox.record.held) return;
  setTimeout(() => {
    if (sandbox.removed || (holders.get(sandbox) ?? 0) > 0) return;
    log.info({ sandbox: sandbox.id }, "nobody holds it: kill");
    void sandboxes
      .kill(sandbox)
      .catch((error) => log.error({ sandbox: sandbox.id, err: error }, "it could not be killed"));
  }, HOLDER_GRACE_MS).unref();
}

/**
 * Lines with the sandbox, at first and after each change, as long as it lives and the client listens. When the last
 * holder of a held sandbox goes away, it is killed; not when the daemon itself ends.
 */
export async function* hold(
  { sandboxes, closing, log }: DaemonContext,
  sandbox: ManagedSandbox,
  signal: AbortSignal,
): AsyncGenerator<string> {
  holders.set(sandbox, (holders.get(sandbox) ?? 0) + 1);
  let wake = Promise.withResolvers<void>();
  const notify = () => wake.resolve();
  const stop = sandbox.onChange(notify);
  signal.addEventListener("abort", notify);
  const heartbeat = setInterval(notify, HEARTBEAT_MS);
  try {
    while (!sandbox.removed && !signal.aborted) {
      wake = Promise.withResolvers();
      yield `${JSON.stringify({ type: "sandbox", sandbox: toSandbox(sandbox.record) })}\n`;
      await wake.promise;
    }
    if (sandbox.removed) yield `${JSON.stringify({ type: "killed" })}\n`;
  } finally {
    clearInterval(heartbeat);
    stop();
    signal.removeEventListener("abort", notify);
    const left = (holders.get(sandbox) ?? 1) - 1;
    holders.set(sandbox, left);
    if (sandbox.record.held && left === 0 && !sandbox.removed && !closing.aborted) {
      void sandboxes
        .kill(sandbox)
        .catch((error) => log.error({ sandbox: sandbox.id, err: error }, "it could not be killed"));
    }
  }
}
