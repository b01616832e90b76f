/**
 * The fetcher's process: `node main.ts DIRECTORY`, DIRECTORY being `fetch` in KILN_HOME. It may be killed at any time: what it has
 * fetched is noted in the files, and whoever needs more starts another.
 */
import { flushCompileCache } from "node:module";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import { KilnHome } from "../../home.ts";
import { CONTROL_SOCKET, FETCHER, FetchRequest } from "../../lazy/fetch-protocol.ts";
import { Activity } from "../../os/server/activity.ts";
import { type ControlService, serveControl } from "../../os/server/serve-control.ts";
import { listenPrivately } from "../../os/server/socket-path.ts";
import { openStore } from "../client/location.ts";
import { retrying } from "../client/retry.ts";
import { locationOf, requireStoreConfig } from "../config.ts";
import { nodeName } from "../hold.ts";
import { ChunkCache } from "./chunk-cache.ts";
import { Fetcher } from "./fetcher.ts";

const MIB = 1024 * 1024;
/** After so long a request that waits for something is answered, to be asked again, in milliseconds. */
const LONGEST_WAIT_MS = 20_000;
/** When all code is loaded, in milliseconds: an end by a signal keeps nothing for the next start. */
const COMPILE_CACHE_DELAY_MS = 2_000;

async function main(): Promise<void> {
  const directory = process.argv[2];
  if (directory === undefined) throw new KilnError("USAGE", "usage: main.ts DIRECTORY");
  const home = new KilnHome(dirname(directory));
  const config = await requireStoreConfig(home);
  const store = retrying(await openStore(locationOf(config)), {
    patienceMs: config.patience_s * 1000,
    onFailure: ({ message }) => {
      if (fetcher.failure === null) process.stderr.write(`${message}\n`);
      fetcher.failure = message;
    },
    onSuccess: () => {
      fetcher.failure = null;
    },
  });
  const cache = new ChunkCache(join(home.root, "chunks"), config.cache_mib * MIB);
  const node = await nodeName(home);
  const fetcher = new Fetcher({ store, cache, node, completes: config.lazy });
  const stop = async () => {
    await fetcher.stop();
    process.exit(0);
  };
  const activity = new Activity();
  const service: ControlService<FetchRequest> = {
    kind: FETCHER,
    request: FetchRequest,
    answer: (request) => activity.track(answer(request, fetcher, stop)),
  };
  const server = createServer((socket) => serveControl(socket, service));
  await listenPrivately(server, join(directory, CONTROL_SOCKET), FETCHER);
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());
  activity.endWhenIdle(() => fetcher.isIdle, stop);
  process.stdout.on("error", () => undefined); // Whoever started it may be gone; the next one finds it.
  setTimeout(() => flushCompileCache(), COMPILE_CACHE_DELAY_MS).unref();
  process.stdout.write("ready\n");
}

async function answer(request: FetchRequest, fetcher: Fetcher, stop: () => Promise<void>): Promise<object> {
  switch (request.op) {
    case "fetch":
      await fetcher.fetch(request.path, request.first, request.end);
      return {};
    case "complete":
      return { whole: await fetcher.complete(request.path, patience()) };
    case "arrivals":
      return fetcher.arrivals(request.path, request.since, patience());
    case "begin":
      await fetcher.begin(request.paths);
      return {};
    case "status":
      return fetcher.status();
    case "stop":
      setImmediate(() => void stop());
      return {};
  }
}

const patience = () => delay(LONGEST_WAIT_MS, undefined, { ref: false });

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof KilnError ? error.exitCode : 1);
});
