/**
 * The memory server's process: `node main.ts DIRECTORY`, DIRECTORY being `fetch/memory` in KILN_HOME. VMs that were resumed before their memory
 * had arrived have it mapped from here, and end with it.
 */
import { flushCompileCache } from "node:module";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { KilnError } from "../../errors.ts";
import { Activity } from "../../os/server/activity.ts";
import { type ControlService, serveControl } from "../../os/server/serve-control.ts";
import { listenPrivately } from "../../os/server/socket-path.ts";
import { FetchClient } from "../fetch-client.ts";
import { CONTROL_SOCKET, MEMORY_SERVER, MemoryRequest } from "./memory-protocol.ts";
import { ShownFiles } from "./shown-files.ts";

/** When all code is loaded, in milliseconds: an end by a signal keeps nothing for the next start. */
const COMPILE_CACHE_DELAY_MS = 2_000;

async function main(): Promise<void> {
  const directory = process.argv[2];
  if (directory === undefined) throw new KilnError("USAGE", "usage: main.ts DIRECTORY");
  const home = dirname(dirname(directory));
  const files = new ShownFiles(join(directory, "mnt"), new FetchClient(home));
  const stop = async () => {
    await files.close();
    // A read of /dev/fuse may be under way, which an orderly end would wait for.
    process.kill(process.pid, "SIGKILL");
  };
  const activity = new Activity();
  const service: ControlService<MemoryRequest> = {
    kind: MEMORY_SERVER,
    request: MemoryRequest,
    answer: async (request) => {
      switch (request.op) {
        case "show":
          return { path: (await activity.track(files.show(request.path))) ?? null };
        case "start":
          await activity.track(files.mount());
          return {};
        case "stop":
          setImmediate(() => void stop());
          return {};
      }
    },
  };
  const server = createServer((socket) => serveControl(socket, service));
  await listenPrivately(server, join(directory, CONTROL_SOCKET), MEMORY_SERVER);
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());
  activity.endWhenIdle(() => files.users === 0, stop);
  process.stdout.on("error", () => undefined); // Whoever started it may be gone; the next one finds it.
  setTimeout(() => flushCompileCache(), COMPILE_CACHE_DELAY_MS).unref();
  process.stdout.write("ready\n");
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof KilnError ? error.exitCode : 1);
});
