import { fork } from "node:child_process";
import { once } from "node:events";
import { WorkerMessage, type WorkerRequest } from "./build-protocol.ts";
import type { ErrorBody } from "./schemas/common.ts";

/** A build that is cancelled cleans up after itself for so long, in milliseconds; then it is killed. */
const CANCEL_PATIENCE_MS = 60_000;
/** So much of what a build's process says on standard error is kept, in characters. */
const MAX_COMPLAINT = 2_000;

/** A ProgressEvent, as it came from the build's process. */
export type BuildProgress = Extract<WorkerMessage, { type: "progress" }>["progress"];

/** How a build's process ended. */
export type BuildOutcome =
  | { result: "done" }
  | { result: "failed"; error: ErrorBody }
  /** Without a word: it was killed, or crashed. What it was at has to be swept. */
  | { result: "lost"; error: ErrorBody };

/** Runs one build in a process of its own (build-worker.ts), and resolves when that has ended. */
export async function runBuildProcess(
  request: WorkerRequest,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: BuildProgress) => void },
): Promise<BuildOutcome> {
  const worker = fork(new URL("./build-worker.ts", import.meta.url), [], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    detached: true,
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  let complaint = "";
  worker.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  let outcome: BuildOutcome | undefined;
  worker.on("message", (raw) => {
    const message = WorkerMessage.safeParse(raw);
    if (!message.success) return;
    const { data } = message;
    if (data.type === "progress") onProgress(data.progress);
    else if (data.type === "done") outcome = { result: "done" };
    else outcome = { result: "failed", error: data.error };
  });
  let killing: NodeJS.Timeout | undefined;
  const cancel = () => {
    worker.kill("SIGTERM");
    killing = setTimeout(() => worker.kill("SIGKILL"), CANCEL_PATIENCE_MS);
  };
  signal.addEventListener("abort", cancel, { once: true });
  try {
    // Its last message may be read after its end was told: the channel's end comes after all messages.
    const ended = Promise.all([once(worker, "exit"), once(worker, "disconnect")]);
    worker.send(request, () => undefined); // A process that is gone already says so by its end.
    if (signal.aborted) cancel();
    const [[code, killedBy]] = await ended;
    return outcome ?? { result: "lost", error: explainEnd(code, killedBy, complaint) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { result: "lost", error: { code: "INTERNAL", message: `the build's process: ${message}` } };
  } finally {
    signal.removeEventListener("abort", cancel);
    clearTimeout(killing);
  }
}

function explainEnd(code: number | null, killedBy: NodeJS.Signals | null, complaint: string): ErrorBody {
  if (killedBy !== null) {
    return {
      code: "BUILD_INTERRUPTED",
      message: `the build's process was killed (${killedBy})`,
      hint: "where nobody did that, the host may have run out of memory; built again, it goes on from the step cache",
      details: { signal: killedBy },
    };
  }
  const said = complaint.trim().split("\n").at(-1) ?? "";
  return { code: "INTERNAL", message: `the build's process ended with ${code}: ${said}` };
}
