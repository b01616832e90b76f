import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { KilnError, systemErrorCode } from "../../errors.ts";
import type { ServerKind } from "./server-kind.ts";

/** Longest path of a Unix socket, in bytes (sun_path of unix(7), less the final zero). */
export const MAX_SOCKET_PATH = 107;

/** @throws KilnError `USAGE` when no socket can have this path. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= MAX_SOCKET_PATH) return;
  throw new KilnError(
    "USAGE",
    `${path}: ${length} bytes are too long for a Unix socket, ${MAX_SOCKET_PATH} are allowed`,
    {
      hint: "use a folder with a shorter path, for example by setting KILN_HOME",
    },
  );
}

/**
 * Listens on a Unix socket that only this user can open. A socket file that a killed server left behind is replaced.
 *
 * @throws KilnError of the kind's code when another server is listening there.
 */
export async function listenPrivately(
  server: Server,
  path: string,
  { name, code }: ServerKind,
): Promise<void> {
  checkSocketPath(path);
  try {
    await listen(server, path);
  } catch (error) {
    if (systemErrorCode(error) !== "EADDRINUSE") throw error;
    if (await answers(path)) {
      throw new KilnError(code, `${path}: another ${name} is listening here`, {
        hint: "give each server a folder of its own",
      });
    }
    if (!(await lstat(path)).isSocket()) {
      throw new KilnError(code, `${path}: there is a file in the socket's place, and it is no socket`);
    }
    await unlink(path);
    await listen(server, path);
  }
  await chmod(path, 0o600);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}
