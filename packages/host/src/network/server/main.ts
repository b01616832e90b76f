/**
 * The network server's process: `node main.ts DIRECTORY`. Serves a control socket in DIRECTORY until it is told to stop. Guests lose
 * the connections they have when it ends, and nothing else.
 */
import { unlink } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { KilnError } from "../../errors.ts";
import { serveControl } from "../../os/server/serve-control.ts";
import { listenPrivately } from "../../os/server/socket-path.ts";
import { CONTROL_SOCKET, NETWORK_SERVER } from "../control-protocol.ts";
import { networkControl } from "./control.ts";
import { Links } from "./links.ts";

/** When the start's code is through. */
const COMPILE_CACHE_DELAY_MS = 2_000;

async function main(): Promise<void> {
  const directory = process.argv[2];
  if (directory === undefined) throw new KilnError("USAGE", "usage: main.ts DIRECTORY");
  const links = new Links();
  const controlPath = join(directory, CONTROL_SOCKET);
  const stop = () => {
    links.close();
    unlink(controlPath).finally(() => process.exit(0));
  };
  const service = networkControl(links, stop);
  const control = createServer((socket) => serveControl(socket, service));
  await listenPrivately(control, controlPath, NETWORK_SERVER);
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.stdout.on("error", () => undefined); // Whoever started it may be gone; the next one finds it.
  process.stdout.write("ready\n");
  // The server mostly ends by a signal, and Node would never get to keep what it has compiled for the next one.
  setTimeout(() => flushCompileCache(), COMPILE_CACHE_DELAY_MS).unref();
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof KilnError ? error.exitCode : 1;
});
