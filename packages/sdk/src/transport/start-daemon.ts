import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { KilnError } from "../errors.ts";

/** What is kept of what a daemon that does not start says, in characters. */
const MAX_COMPLAINT = 4_000;

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );

/** The `kiln` to start a daemon with: `$KILN_BIN`, the one on the PATH, or that of the checkout this file is in. */
export async function findKiln(env: NodeJS.ProcessEnv = process.env): Promise<readonly string[]> {
  if (env.KILN_BIN) return [env.KILN_BIN];
  const onPath = (env.PATH ?? "").split(delimiter).filter((folder) => folder.startsWith("/"));
  const ofCheckout = fileURLToPath(new URL("../../../../bin", import.meta.url));
  for (const folder of [...onPath, ofCheckout]) {
    const path = join(folder, "kiln");
    if (await isExecutable(path)) return [path];
  }
  throw new KilnError("UNREACHABLE", "no daemon runs, and there is no kiln to start one with", {
    hint: "put kiln on the PATH, name it by KILN_BIN, or name a running daemon by KILN_URL",
  });
}

/**
 * Starts the daemon of `home` and resolves when it answers. Several at once start one.
 * @param command the `kiln` to start it with.
 * @throws KilnError `UNREACHABLE` with what the daemon said.
 */
export async function startDaemon(home: string, command: readonly string[]): Promise<void> {
  const [program = "kiln", ...words] = command;
  const child = spawn(program, [...words, "serve", "--background"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, KILN_HOME: home },
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  const failure = await new Promise<{ why: string; cause?: unknown } | undefined>((done) => {
    child.once("error", (cause) => done({ why: cause.message, cause }));
    // Not "close": the daemon itself may have inherited standard error.
    child.once("exit", (code, signal) =>
      done(code === 0 ? undefined : { why: complaint.trim() || `${signal ?? code}` }),
    );
  });
  child.stderr.destroy();
  if (failure) {
    throw new KilnError("UNREACHABLE", `the daemon could not be started: ${failure.why}`, {
      cause: failure.cause,
      hint: `${[...command, "serve"].join(" ")} shows why`,
    });
  }
}
