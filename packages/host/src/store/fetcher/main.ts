/**
 * The fetcher's process: `node main.ts DIRECTORY`, DIRECTORY being `fetch` in KILN_HOME. It may be killed at any time: what it has
 * fetched is noted in the files, and whoever needs more starts another.
 */
import { flushCompileCache } from "node:module";
import { createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KilnError } from "../../errors.ts";
import { KilnHome } from "../../home.ts";
import { CONTROL_SOCKET, FETCHER, FetchRequest } from "../../lazy/fetch-protocol.ts";
import { MAX_LINE } from "../../os/server/control-client.ts";
import { LineSplitter } from "../../os/server/lines.ts";
import { listenPrivately } from "../../os/server/socket-path.ts";
import { openStore } from "../client/location.ts";
import { retrying } from "../client/retry.ts";
import { locationOf, requireStoreConfig } from "../config.ts";
import { nodeName } from "../hold.ts";
import { ChunkCache } from "./chunk-cache.ts";
import { Fetcher } from "./fetcher.ts";

const MIB = 1024 * 1024;
/** How long the fetcher stays when nobody needs it, in milliseconds. */
const IDLE_MS = 60_000;
/** After so long a request to complete a file is answered, to be asked again, in milliseconds. */
const COMPLETE_MS = 20_000;
/** When all code is loaded, in milliseconds: an end by SIGKILL keeps nothing for the next start. */
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
  const fetcher = new Fetcher({ directory, store, cache, node, completes: config.lazy });
  let used = performance.now();
  const stop = async () => {
    await fetcher.stop();
    // A read of /dev/fuse may be under way, which an orderly end would wait for.
    process.kill(process.pid, "SIGKILL");
  };
  const server = createServer((socket) => {
    used = performance.now();
    serve(socket, fetcher, stop);
  });
  await listenPrivately(server, join(directory, CONTROL_SOCKET), FETCHER);
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());
  setInterval(async () => {
    const connections = await new Promise<number>((resolve) =>
      server.getConnections((_, count) => resolve(count)),
    );
    if (connections > 0 || !(await fetcher.isIdle())) used = performance.now();
    else if (performance.now() - used > IDLE_MS) await stop();
  }, IDLE_MS / 4);
  setTimeout(() => flushCompileCache(), COMPILE_CACHE_DELAY_MS).unref();
  process.stdout.write("ready\n");
}

function serve(socket: Socket, fetcher: Fetcher, stop: () => Promise<void>): void {
  const lines = new LineSplitter(MAX_LINE);
  const say = (message: object) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
  };
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    const complete = lines.push(bytes);
    for (const line of complete ?? []) {
      const request = parse(line);
      if (request === undefined) return socket.destroy();
      const { seq } = request;
      answer(request, fetcher, stop).then(
        (result) => say({ seq, result }),
        (error: unknown) => say({ seq, error: describe(error) }),
      );
    }
    if (complete === undefined) socket.destroy();
  });
  say({ kiln: FETCHER.greeting, version: FETCHER.version, pid: process.pid });
}

async function answer(request: FetchRequest, fetcher: Fetcher, stop: () => Promise<void>): Promise<object> {
  switch (request.op) {
    case "fetch":
      await fetcher.fetch(request.path, request.first, request.end);
      return {};
    case "complete":
      return { whole: await fetcher.complete(request.path, delay(COMPLETE_MS, undefined, { ref: false })) };
    case "present":
      return { path: (await fetcher.present(request.path)) ?? null };
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

function parse(line: string): FetchRequest | undefined {
  try {
    return FetchRequest.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

function describe(error: unknown): { code: string; message: string; hint?: string | undefined } {
  if (error instanceof KilnError) return { code: error.code, message: error.message, hint: error.hint };
  return { code: "STORE_UNAVAILABLE", message: error instanceof Error ? error.message : String(error) };
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof KilnError ? error.exitCode : 1);
});
