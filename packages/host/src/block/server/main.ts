/**
 * The block server's process: `node main.ts DIRECTORY`. Serves NBD and control sockets in DIRECTORY until it is told
 * to stop. It keeps nothing in memory that an acknowledged write needs, so it may be killed at any time.
 */
import { chmod, mkdir, rmdir, unlink } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { KilnError } from "../../errors.ts";
import { serveControl } from "../../os/server/serve-control.ts";
import { listenPrivately } from "../../os/server/socket-path.ts";
import { BLOCK_SERVER, CONTROL_SOCKET, NBD_SOCKET } from "../control-protocol.ts";
import { Connection } from "../nbd/connection.ts";
import { blockControl, ControlClients } from "./control.ts";
import { Disks } from "./disks.ts";

/** When the start's code is through and a first guest has its disk. */
const COMPILE_CACHE_DELAY_MS = 2_000;

/** Clients of all disks together, at most. */
const MAX_CONNECTIONS = 4096;

async function main(): Promise<void> {
  const directory = process.argv[2];
  if (directory === undefined) throw new KilnError("USAGE", "usage: main.ts DIRECTORY");
  const disks = new Disks();
  const controlPath = join(directory, CONTROL_SOCKET);
  const nbdPath = join(directory, NBD_SOCKET);

  const nbd = createServer({ pauseOnConnect: true }, (socket) => {
    if (disks.connections.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, disks);
    disks.connections.add(connection);
    connection.closed.then(() => disks.connections.delete(connection));
  });
  const stop = () => {
    // Explicitly, so that no lingering client can hold the process.
    const removed = unlink(nbdPath).then(() => rmdir(dirname(nbdPath)));
    Promise.allSettled([disks.close(), removed, unlink(controlPath)]).then(() => process.exit(0));
  };
  const clients = new ControlClients();
  const service = blockControl(disks, clients, stop);
  const control = createServer((socket) => {
    clients.join(socket);
    serveControl(socket, service);
  });
  // The control socket is there last: whoever reaches it can use both.
  await mkdir(dirname(nbdPath), { recursive: true, mode: 0o700 });
  await listenPrivately(nbd, nbdPath, BLOCK_SERVER);
  // Root's VMs run as users of their own; they see this folder and not the one above, which lets nobody else in.
  if (process.geteuid?.() === 0) await Promise.all([chmod(dirname(nbdPath), 0o711), chmod(nbdPath, 0o666)]);
  await listenPrivately(control, controlPath, BLOCK_SERVER);
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
