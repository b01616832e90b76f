import { KilnError } from "../errors.ts";
import { KilnHome } from "../home.ts";
import { SandboxHost } from "../sandbox/sandbox-host.ts";
import { completeSpec, saveTemplate } from "../template/templates.ts";
import { type WorkerMessage, WorkerRequest } from "./build-protocol.ts";

/**
 * A build in a process of its own, so that the daemon answers meanwhile and a build cannot take it down. Started with an
 * IPC channel; what to build comes as its first message, progress and result go back. Ends with the daemon.
 */
const cancelled = new AbortController();
process.on("disconnect", () => cancelled.abort());
process.on("SIGTERM", () => cancelled.abort());
// Ctrl-C in a terminal is for the daemon, which says what becomes of its builds.
process.on("SIGINT", () => undefined);

const send = (message: WorkerMessage) =>
  new Promise<void>((resolve) => {
    if (process.send) process.send(message, () => resolve());
    else resolve();
  });

async function build(request: WorkerRequest): Promise<void> {
  const home = new KilnHome(request.home);
  const spec = await completeSpec(home, request.spec, "spec");
  await using host = await SandboxHost.open(home);
  await host.prepareSpec(spec, {
    signal: cancelled.signal,
    onProgress: (progress) => void send({ type: "progress", progress }),
    stepTimeoutMs: request.stepTimeoutMs,
    minFreeDiskMib: request.minFreeDiskMib,
    ...(request.vcpu === undefined ? {} : { vcpu: request.vcpu }),
    ...(request.memoryMib === undefined ? {} : { memoryMib: request.memoryMib }),
    ...(request.engine === undefined ? {} : { engine: request.engine }),
  });
  if (request.save) await saveTemplate(home, spec);
}

process.once("message", (message) => {
  void build(WorkerRequest.parse(message))
    .then(() => send({ type: "done" }))
    .catch((error) => {
      const { code, hint, details } = error instanceof KilnError ? error : new KilnError("INTERNAL", "");
      const text = error instanceof Error ? error.message : String(error);
      return send({
        type: "failed",
        error: {
          code,
          message: text,
          ...(hint === undefined ? {} : { hint }),
          ...(details === undefined ? {} : { details }),
        },
      });
    })
    .finally(() => process.exit());
});
