import { type ChildProcess, spawn } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import { EndedError, firstLine, READY_PATIENCE_MS } from "../first-line.ts";
import { diesWithOwner } from "../owned-process.ts";
import type { ServerKind } from "./server-kind.ts";

const ATTEMPTS = 3;
/** How long a server that was told to stop may take to do so before it is killed. */
const END_TIMEOUT_MS = 10_000;
/** File of a server's folder that is locked for as long as a server that may outlive its owner has the folder. */
const LOCK = "lock";
/** What flock(1) ends with when another process has the lock: EX_TEMPFAIL, which no server ends with. */
const TAKEN_EXIT_CODE = 75;
/** Between two attempts where another server has the folder, in milliseconds. */
const TAKEN_PAUSE_MS = 50;
/** How much of the log an error message quotes, in characters. */
const LOG_TAIL = 400;

/** A server process of ours. */
export interface ServerProcess {
  readonly exited: Promise<void>;
  /** Waits for the end of a server that was told to stop, and kills it when that takes too long. */
  end(): Promise<void>;
  kill(): Promise<void>;
}

/**
 * Starts `node main directory` and waits until its sockets are there. Its stderr goes to `server.log` in `directory`. One that
 * somebody kills before it is ready is started again, a few times. One that is detached fails where another has the folder; see `whileTaken`.
 */
export async function spawnServer(
  kind: ServerKind,
  main: string,
  directory: string,
  detached: boolean,
  signal: AbortSignal | undefined,
): Promise<ServerProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await spawnOnce(kind, main, directory, detached, signal);
    } catch (error) {
      const cause = error instanceof KilnError ? error.cause : undefined;
      const wasKilled = cause instanceof EndedError && cause.killedBy !== null;
      if (!wasKilled || attempt === ATTEMPTS || signal?.aborted) throw error;
    }
  }
}

/** Another server has the folder. */
class TakenError extends Error {}

/**
 * Does `work`, which starts a server unless one answers, again as long as another one has the folder without answering: a former owner's that
 * is starting still, or one that is ending.
 */
export async function whileTaken<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + READY_PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const isTaken = error instanceof KilnError && error.cause instanceof TakenError;
      if (!isTaken || performance.now() > deadline) throw error;
      await delay(TAKEN_PAUSE_MS);
    }
  }
}

/**
 * Command words of the server. One that may outlive its owner is the only one in its folder for as long as it lives: flock(1) takes the lock
 * and becomes the server, which keeps it. Two owners that follow each other quickly could have two otherwise, of which the second takes the
 * first one's sockets away.
 */
function serverCommand(main: string, directory: string, detached: boolean): [string, string[]] {
  const words = [main, directory];
  if (!detached) return diesWithOwner(process.execPath, words);
  const flags = ["--nonblock", "--no-fork", "--conflict-exit-code", String(TAKEN_EXIT_CODE)];
  return ["flock", [...flags, join(directory, LOCK), process.execPath, ...words]];
}

async function spawnOnce(
  kind: ServerKind,
  main: string,
  directory: string,
  detached: boolean,
  signal: AbortSignal | undefined,
): Promise<ServerProcess> {
  const logPath = join(directory, "server.log");
  const [command, args] = serverCommand(main, directory, detached);
  await using log = await open(logPath, "a", 0o600);
  // A session of its own in both cases: Ctrl-C is for the owner, whose guests still need their disks while they stop.
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", log.fd],
    detached: true,
    env: kind.threads ? { ...process.env, UV_THREADPOOL_SIZE: String(kind.threads) } : process.env,
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  try {
    await ready(child, signal);
  } catch (cause) {
    await kill();
    if (signal?.aborted)
      throw new KilnError("CANCELLED", `cancelled while the ${kind.name} was starting`, { cause });
    if (cause instanceof TakenError) {
      throw new KilnError(kind.code, `the ${kind.name} did not start: ${cause.message}`, {
        cause,
        hint: `fuser ${join(directory, LOCK)} names its process`,
      });
    }
    const said = (await readFile(logPath, "utf8").catch(() => "")).trim().slice(-LOG_TAIL);
    throw new KilnError(kind.code, `the ${kind.name} did not start: ${said || String(cause)}`, {
      cause,
      hint: `${logPath} has the whole story`,
    });
  }
  if (detached) child.unref();
  return {
    exited,
    kill,
    end: async () => {
      const timer = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

async function ready(child: ChildProcess, signal: AbortSignal | undefined): Promise<void> {
  try {
    await firstLine(child, signal);
  } catch (cause) {
    if (cause instanceof EndedError && cause.exitCode === TAKEN_EXIT_CODE)
      throw new TakenError("another one has its folder and does not answer");
    throw cause;
  } finally {
    child.stdout?.destroy();
  }
}
