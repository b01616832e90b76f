import { spawn } from "node:child_process";
import { mkdir, open, readFile } from "node:fs/promises";
import { request } from "node:http";
import { dirname } from "node:path";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";

/** How long a daemon that lives may take to answer, in milliseconds: it may have many sandboxes to take up, on a slow host. */
const START_PATIENCE_MS = 300_000;
const POLL_MS = 15;
/** An automatically started daemon that has nothing to do ends after so long, in milliseconds. */
const IDLE_EXIT = "10m";

/** Whether a daemon answers for `home`. */
export function isServing(home: KilnHome): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ socketPath: home.socket, path: "/healthz", timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.once("error", () => resolve(false));
    asked.once("timeout", () => asked.destroy());
    asked.end();
  });
}

/**
 * Starts a daemon that outlives this process, and resolves when it answers. Does nothing when one does. Several at
 * once start one: the others of them find it there.
 * @param main the CLI's entry.
 */
export async function serveInBackground(
  home: KilnHome,
  main: string,
  args: readonly string[],
): Promise<void> {
  if (await isServing(home)) return;
  const log = home.log("daemon");
  await mkdir(dirname(log), { recursive: true, mode: 0o700 });
  await using file = await open(log, "a", 0o600);
  const { size: before } = await file.stat();
  const words = [
    "--disable-warning=ExperimentalWarning",
    main,
    "serve",
    "--idle-exit",
    IDLE_EXIT,
    "--log",
    log,
    ...args,
  ];
  const child = spawn(process.execPath, words, {
    detached: true,
    stdio: ["ignore", file.fd, file.fd],
    cwd: "/",
    env: { ...process.env, KILN_HOME: home.root },
  });
  let ended = false;
  child.once("exit", () => {
    ended = true;
  });
  child.unref();
  const deadline = performance.now() + START_PATIENCE_MS;
  while (performance.now() < deadline) {
    const gone = ended; // Before the question: one that ended because another was quicker leaves that other answering.
    if (await isServing(home)) return;
    if (gone && !(await isStarting(home))) break;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const said = (await readFile(log, "utf8")).slice(before).trim().split("\n").slice(-5).join("\n");
  throw new KilnError(
    "HOST_UNSUPPORTED",
    `the daemon did not start${said === "" ? "" : `: ${said.slice(-1000)}`}`,
    {
      hint: `${log} has the whole story`,
    },
  );
}

/** Whether somebody holds the daemon's lock: another one that was started at the same time. */
async function isStarting(home: KilnHome): Promise<boolean> {
  const { tryLockFile } = await import("../os/file-lock.ts");
  const lock = await tryLockFile(home.lock("daemon"));
  await lock?.[Symbol.asyncDispose]();
  return lock === undefined;
}
