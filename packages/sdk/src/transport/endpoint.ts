import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { KilnError } from "../errors.ts";

/** Where a daemon is reached. */
export type Endpoint =
  | { kind: "local"; socketPath: string; home: string }
  | { kind: "unix"; socketPath: string; token?: string }
  | { kind: "tcp"; url: URL; token?: string };

export interface EndpointOptions {
  /** `http://HOST:PORT`, `https://…` or `unix:/PATH`. @default $KILN_URL, else the local daemon's socket */
  url?: string | undefined;
  /** Needed over TCP. @default $KILN_TOKEN */
  token?: string | undefined;
  /** Folder of the local daemon. @default $KILN_HOME, else $XDG_DATA_HOME/kiln, else ~/.local/share/kiln */
  home?: string | undefined;
}

/**
 * Finds out which daemon is meant. One that is given by its folder, or by nothing at all, is this machine's own: it may be
 * started when it does not run.
 */
export function resolveEndpoint(
  options: EndpointOptions = {},
  env: NodeJS.ProcessEnv = process.env,
): Endpoint {
  const url = options.url ?? (options.home === undefined ? env.KILN_URL : undefined);
  const token = options.token ?? env.KILN_TOKEN;
  if (!url) {
    const home = resolve(
      options.home ?? (env.KILN_HOME || join(env.XDG_DATA_HOME || join(homedir(), ".local/share"), "kiln")),
    );
    return { kind: "local", home, socketPath: join(home, "kiln.sock") };
  }
  const secret = token ? { token } : {};
  if (url.startsWith("unix:")) {
    return { kind: "unix", socketPath: resolve(url.slice("unix:".length).replace(/^\/\/+/, "/")), ...secret };
  }
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== "http:" && parsed?.protocol !== "https:") {
    throw new KilnError("USAGE", `"${url}" is no address of a daemon`, {
      hint: "such as http://server:7070 or unix:/home/me/.local/share/kiln/kiln.sock",
    });
  }
  return { kind: "tcp", url: parsed, ...secret };
}

/** The endpoint for messages. */
export const describeEndpoint = (endpoint: Endpoint): string =>
  endpoint.kind === "tcp" ? endpoint.url.origin : endpoint.socketPath;
