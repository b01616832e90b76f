import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { KilnClient } from "@kiln/sdk";
import { openTestHome } from "./home.ts";
import { CLI_MAIN, startKiln } from "./kiln.ts";
import { leftovers } from "./leftovers.ts";

/** How long a daemon may take to answer, in milliseconds, on a host that is busy with other tests. */
const START_PATIENCE_MS = 60_000;

export interface DaemonHome extends AsyncDisposable {
  home: string;
  client: KilnClient;
  /** Of a daemon that was started here; none of one that ran already. */
  pid: number | undefined;
  /** Sandboxes there are, as `id state`. */
  sandboxes: () => Promise<string[]>;
  /** What is left when the daemon has ended as well; only of one that was started here. */
  stop: () => Promise<string[]>;
}

/** The home of tests, or another, with a daemon: one of its own, unless one runs there already. */
export async function openDaemonHome(folder?: string): Promise<DaemonHome> {
  await using stack = new AsyncDisposableStack();
  const home = folder ?? stack.use(await openTestHome()).root;
  const found = new KilnClient({ home, autostart: false });
  const runs = await found.health({ signal: AbortSignal.timeout(500) }).then(
    () => true,
    () => false,
  );
  const daemon = runs ? undefined : startKiln(["serve"], { home });
  let log = "";
  daemon?.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-4000);
  });
  const ended = daemon && once(daemon, "exit");
  const stop = async () => {
    if (daemon === undefined) return [];
    if (daemon.exitCode === null && daemon.signalCode === null) daemon.kill("SIGTERM");
    await ended;
    return leftovers(home);
  };
  stack.defer(async () => void (await stop()));
  const command = [process.execPath, "--disable-warning=ExperimentalWarning", CLI_MAIN];
  const client = stack.adopt(new KilnClient({ home, command, autostart: false }), (client) => client.close());
  const deadline = performance.now() + START_PATIENCE_MS;
  for (;;) {
    const failure = await client.health().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure === undefined) break;
    const isGone = daemon !== undefined && daemon.exitCode !== null;
    if (isGone || performance.now() > deadline)
      throw new Error(`the daemon does not answer: ${log}`, { cause: failure });
    await delay(50);
  }
  const all = async () => {
    const found = [];
    for await (const sandbox of client.list()) found.push(sandbox);
    return found;
  };
  stack.defer(async () => {
    for (const sandbox of await all().catch(() => [])) await sandbox.kill();
  });
  const moved = stack.move();
  return {
    home,
    client,
    pid: daemon?.pid,
    sandboxes: async () => (await all()).map(({ id, info }) => `${id} ${info.state}`),
    stop,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
