import { setTimeout as delay } from "node:timers/promises";
import { KilnError, systemErrorCode } from "../errors.ts";
import { isAlive, type ProcessId } from "./process-id.ts";

/** A process ends within milliseconds of SIGKILL, but for one with gigabytes of memory to give back. */
const KILL_PATIENCE_MS = 30_000;
/** The kernel tells only parents of a process's end; anybody else has to look. */
const LOOK_AGAIN_MS = 5;

/**
 * Waits until a process is gone that need not be a child.
 * @param options.patienceMs how long, in milliseconds. @default for ever
 * @param options.ref whether that is a reason for this process to stay.
 * @returns whether it is gone.
 */
export async function awaitEnd(
  id: ProcessId,
  { patienceMs = Number.POSITIVE_INFINITY, lookAgainMs = LOOK_AGAIN_MS, ref = true } = {},
): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (isAlive(id)) {
    if (performance.now() >= deadline) return false;
    await delay(lookAgainMs, undefined, { ref });
  }
  return true;
}

/**
 * Ends a process that need not be a child, if it is still alive, and waits until it is gone.
 * @param options.patienceMs how long it may take to end by itself first, in milliseconds. @default 0
 * @throws KilnError `INTERNAL` when it does not go.
 */
export async function killProcess(id: ProcessId, options: { patienceMs?: number } = {}): Promise<void> {
  if (await awaitEnd(id, { patienceMs: options.patienceMs ?? 0 })) return;
  try {
    process.kill(Number.parseInt(id, 10), "SIGKILL");
  } catch (error) {
    if (systemErrorCode(error) !== "ESRCH") throw error;
  }
  if (await awaitEnd(id, { patienceMs: KILL_PATIENCE_MS })) return;
  throw new KilnError("INTERNAL", `process ${id} does not end though it was killed`);
}
