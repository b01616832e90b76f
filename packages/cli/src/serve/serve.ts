import { fileURLToPath } from "node:url";
import { KilnError } from "@kiln/host/errors.ts";
import { KilnHome } from "@kiln/host/home.ts";

export interface ServeRequest {
  listen?: string;
  background?: boolean;
  idleExit?: number;
  log?: string;
}

function parseAddress(text: string): { host: string; port: number } {
  const match = /^(.+):(\d{1,5})$/.exec(text);
  const host = match?.[1]?.replace(/^\[(.*)\]$/, "$1");
  const port = Number(match?.[2]);
  if (host === undefined || port > 65535) {
    throw new KilnError("USAGE", `"${text}" is not HOST:PORT`, { hint: "such as 127.0.0.1:7070" });
  }
  return { host, port };
}

/** Runs the daemon until a signal ends it, or starts one in the background. */
export async function serveCommand({ listen, background, idleExit, log }: ServeRequest): Promise<void> {
  const home = KilnHome.fromEnvironment();
  const address = listen === undefined ? undefined : parseAddress(listen);
  if (background) {
    const { serveInBackground } = await import("@kiln/host/server/background.ts");
    const main = fileURLToPath(new URL("../main.ts", import.meta.url));
    await serveInBackground(home, main, listen === undefined ? [] : ["--listen", listen]);
    return;
  }
  const ended = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => ended.abort());
  const { serve } = await import("@kiln/host/server/daemon.ts");
  await serve(
    {
      home,
      ...(address === undefined ? {} : { listen: address }),
      ...(idleExit === undefined ? {} : { idleExitMs: idleExit }),
      ...(log === undefined ? {} : { logFile: log }),
      onReady: ({ socket, url }) => {
        if (log === undefined)
          process.stderr.write(`kiln: listening on ${socket}${url === undefined ? "" : ` and ${url}`}\n`);
      },
    },
    ended.signal,
  );
  process.exit();
}
