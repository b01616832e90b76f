import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { KilnError } from "../errors.ts";

/** How flock(1) ends with --nonblock when somebody else has the lock. */
const HELD_BY_ANOTHER = 1;

export interface LockOptions {
  /** Many holders at once, but none beside an exclusive one. @default false */
  shared?: boolean;
}

/**
 * Takes a lock, exclusive unless said otherwise, on `path` across processes; disposing it lets go. The kernel holds the lock for a
 * flock(1) child whose standard input is this process, so a crash of the holder releases it at once: there are no
 * stale locks and nobody polls. Costs one small process, so it is for work that takes seconds.
 *
 * @throws KilnError `CANCELLED` when `signal` fires while waiting; `INTERNAL` when flock cannot lock for another reason.
 */
export async function lockFile(
  path: string,
  signal?: AbortSignal,
  options: LockOptions = {},
): Promise<AsyncDisposable> {
  const lock = await takeLock(path, [options.shared ? "--shared" : "--exclusive"], signal);
  if (lock === undefined) throw new KilnError("INTERNAL", `cannot lock ${path}: flock gave up`);
  return lock;
}

/** Takes an exclusive lock as {@link lockFile} does, or gives undefined at once when somebody else holds one. */
export function tryLockFile(path: string): Promise<AsyncDisposable | undefined> {
  return takeLock(path, ["--exclusive", "--nonblock"]);
}

async function takeLock(
  path: string,
  flags: string[],
  signal?: AbortSignal,
): Promise<AsyncDisposable | undefined> {
  await mkdir(dirname(path), { recursive: true });
  const child = spawn("flock", [...flags, path, "sh", "-c", "echo; exec cat"], {
    stdio: ["pipe", "pipe", "ignore"],
    detached: true, // Ctrl-C in the terminal is for the owner, which then lets go of the lock in its own order.
  });
  const exited = once(child, "exit");
  const release = async () => {
    child.stdin.destroy();
    child.kill("SIGKILL");
    await exited;
  };
  const cancel = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", cancel);
  try {
    const end = await Promise.race([once(child.stdout, "data").then(() => undefined), exited]);
    if (signal?.aborted) {
      await release();
      throw new KilnError("CANCELLED", "cancelled while waiting for another build");
    }
    if (end?.[0] === HELD_BY_ANOTHER) return undefined;
    if (end !== undefined) {
      throw new KilnError("INTERNAL", `cannot lock ${path}: flock ended with ${end[0] ?? end[1]}`);
    }
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
  return { [Symbol.asyncDispose]: release };
}
