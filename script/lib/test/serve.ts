import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { RunOptions } from "./run-process.ts";

/** A daemon for as long as it takes: tests that find one running start none that would stay. */
export async function serve({ cwd, env }: RunOptions): Promise<AsyncDisposable> {
  const main = join(cwd, "packages/cli/src/main.ts");
  const child = spawn(process.execPath, [...process.execArgv, main, "serve"], {
    cwd,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "exit");
  let said = "";
  for await (const text of child.stderr.setEncoding("utf8")) {
    said += text;
    if (said.includes("listening on")) break;
  }
  if (child.exitCode !== null) throw new Error(`the daemon does not start: ${said}`);
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
