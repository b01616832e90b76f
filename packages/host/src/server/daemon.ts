import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { DiskService } from "../block/disk-service.ts";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { NetworkService } from "../network/network-service.ts";
import { tryLockFile } from "../os/file-lock.ts";
import { sweepOwnedFolders } from "../os/owned-folder.ts";
import { chosenEngine, enginesOf } from "../sandbox/engine.ts";
import { Sandboxes } from "../sandbox/sandboxes.ts";
import { VERSION } from "../version.ts";
import { buildApp } from "./app.ts";
import type { App } from "./app-type.ts";
import { Builds } from "./builds.ts";
import { readConfig } from "./config.ts";
import type { DaemonContext } from "./context.ts";
import { expectHolder } from "./hold.ts";
import { exitWhenIdle } from "./idle.ts";
import { Metrics } from "./metrics.ts";
import { measureHost } from "./stats.ts";
import { findLaunchable } from "./templates.ts";
import { Tokens } from "./tokens.ts";

export interface ServeOptions {
  home: KilnHome;
  /** Listens on TCP as well; every request there needs a token. */
  listen?: { host: string; port: number };
  /** Ends by itself when for so long nobody asked anything and no sandbox was there, in milliseconds. */
  idleExitMs?: number;
  /** Where log lines go: a file, or standard error. */
  logFile?: string;
  /** Told when requests are answered. */
  onReady?: (address: { socket: string; url: string | undefined }) => void;
}

/**
 * Runs the daemon until `signal` fires. Sandboxes that run then go on, and the next daemon takes them up.
 * @throws KilnError `CONFLICT` when one runs for this home already; `USAGE` for a configuration that is wrong.
 */
export async function serve(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { home } = options;
  await mkdir(home.root, { recursive: true, mode: 0o700 });
  const lock = await tryLockFile(home.lock("daemon"));
  if (!lock) {
    throw new KilnError("CONFLICT", `a daemon runs for ${home.root} already`, {
      hint: `it listens on ${home.socket}; another KILN_HOME is another daemon`,
    });
  }
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(lock);
  const log = pino(
    { base: { pid: process.pid } },
    pino.destination({ dest: options.logFile ?? 2, sync: true }),
  );
  const config = await readConfig(home);
  const closing = new AbortController();
  const idle = Promise.withResolvers<void>();

  await Promise.all([sweepOwnedFolders(home.runs), sweepOwnedFolders(home.tmp)]);
  const disks = await DiskService.attach(join(home.root, "block"));
  const networks = new NetworkService(join(home.root, "net"), { detached: true });
  const metrics = new Metrics(home);
  const sandboxes = new Sandboxes({
    home,
    disks,
    networks,
    engines: enginesOf(home),
    limits: config.limits,
    pool: config.pool,
    findTemplate: (name) => findLaunchable(home, name),
    onPool: (template, hit) => metrics.pool.inc({ template, result: hit ? "hit" : "miss" }),
    log: (message, fields) => log.info(fields, message),
  });
  const builds = new Builds({
    home,
    parallel: config.maxBuilds,
    stepTimeoutMs: config.buildStepTimeoutMs,
    minFreeDiskMib: config.limits.minFreeDiskMib,
    onEnd: ({ id, template, state }, ms) => {
      metrics.builds.inc({ state });
      log.info({ build: id, template, state, ms: Math.round(ms) }, "a build ended");
    },
    log: (message, fields) => log.warn(fields, message),
  });
  metrics.observe(
    () => sandboxes.records,
    () => measureHost(sandboxes.list()),
  );
  await Promise.all([sandboxes.open(), builds.open()]);
  cleanup.defer(async () => {
    await sandboxes.close();
    await Promise.all([disks.close(), networks.close()]);
  });
  cleanup.use(builds);

  const context: DaemonContext = {
    home,
    config,
    sandboxes,
    builds,
    tokens: new Tokens(home),
    metrics,
    log,
    closing: closing.signal,
  };
  for (const sandbox of sandboxes.list()) expectHolder(context, sandbox);
  const local = await listenLocally(context, cleanup);
  const url = options.listen && (await listenOnTcp(context, options.listen, cleanup));
  cleanup.defer(async () => closing.abort(new KilnError("SHUTTING_DOWN", "the daemon ends")));
  if (options.idleExitMs !== undefined) exitWhenIdle([local], context, options.idleExitMs, idle.resolve);
  log.info({ version: VERSION, socket: home.socket, url, sandboxes: sandboxes.list().length }, "ready");
  void warmEngine(home, log);
  options.onReady?.({ socket: home.socket, url });

  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await Promise.race([aborted, idle.promise]);
  log.info({ sandboxes: sandboxes.list().length }, "ends; sandboxes that run go on");
}

/** The first sandbox is to start as soon as every later one. */
async function warmEngine(home: KilnHome, log: DaemonContext["log"]): Promise<void> {
  try {
    (await chosenEngine(home))?.warm();
  } catch (error) {
    log.warn({ err: error }, "nothing was made ahead of the first sandbox");
  }
}

/** The socket in KILN_HOME: whoever can open it is its user, or root. */
async function listenLocally(context: DaemonContext, cleanup: AsyncDisposableStack): Promise<App> {
  const app = await buildApp(context, { trusted: true });
  cleanup.defer(() => app.close());
  await rm(context.home.socket, { force: true }); // A former daemon's: this one holds the lock.
  const before = process.umask(0o177);
  try {
    await app.listen({ path: context.home.socket });
  } finally {
    process.umask(before);
  }
  await chmod(context.home.socket, 0o600);
  cleanup.defer(() => rm(context.home.socket, { force: true }));
  return app;
}

async function listenOnTcp(
  context: DaemonContext,
  listen: { host: string; port: number },
  cleanup: AsyncDisposableStack,
): Promise<string> {
  const app = await buildApp(context, { trusted: false });
  cleanup.defer(() => app.close());
  return app.listen(listen);
}
