import { existsSync, type FSWatcher, watch } from "node:fs";
import { connect, type Socket } from "node:net";
import { dirname } from "node:path";
import { KilnError, systemErrorCode } from "../errors.ts";

/** Longest path of a Unix socket: `sun_path` of unix(7) without its NUL. */
const MAX_SOCKET_PATH_BYTES = 107;
/** Between a socket's name appearing and its owner listening lie microseconds in which a connection is refused. */
const LISTEN_GAP_MS = 1;

function attempt(path: string): Promise<Socket | "absent" | "refused"> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      // Its end breaks this connection, whether or not anybody reads from it yet; readers have listeners of their own.
      socket.on("error", () => undefined);
      resolve(socket);
    });
    socket.once("error", (error) => {
      const code = systemErrorCode(error);
      if (code === "ENOENT") resolve("absent");
      else if (code === "ECONNREFUSED") resolve("refused");
      else reject(error);
    });
  });
}

/**
 * Connects to a Unix socket that a process just started is about to make: watches the folder for its name, unless it is there.
 * @throws whatever `signal` was aborted with.
 */
export async function connectWhenListening(path: string, signal: AbortSignal): Promise<Socket> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new KilnError("HOST_UNSUPPORTED", `the path of a socket would be too long: ${path}`, {
      hint: `choose a shorter KILN_HOME: socket paths have at most ${MAX_SOCKET_PATH_BYTES} bytes`,
    });
  }
  let changed = Promise.withResolvers<void>();
  const startWatching = (): FSWatcher => watch(dirname(path), () => changed.resolve());
  let watcher: FSWatcher | undefined;
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    while (true) {
      signal.throwIfAborted();
      changed = Promise.withResolvers<void>();
      const result = existsSync(path) ? await attempt(path) : "absent";
      if (typeof result === "object") return result;
      if (result === "absent" && watcher === undefined) {
        watcher = startWatching();
        continue; // It may have come before that.
      }
      const gap = result === "refused" ? setTimeout(() => changed.resolve(), LISTEN_GAP_MS) : undefined;
      await Promise.race([changed.promise, aborted.promise]).finally(() => clearTimeout(gap));
    }
  } finally {
    signal.removeEventListener("abort", abort);
    watcher?.close();
  }
}
