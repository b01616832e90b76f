import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";

export const CLI_MAIN = join(import.meta.dirname, "../../packages/cli/src/main.ts");

/** In the environment of every CLI that tests start, and so of what it starts in turn: tells them from all others. */
export const TEST_MARK = `KILN_TEST_MARK=${randomUUID()}`;

export interface CliResult {
  stdout: string;
  stderr: string;
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface CliOptions {
  home: string;
  input?: string;
  env?: Record<string, string>;
}

/** Starts the CLI as its own process group, as a shell would. */
export function startKiln(args: readonly string[], { home, env = {} }: CliOptions): ChildProcess {
  return spawn(process.execPath, [CLI_MAIN, ...args], {
    env: { ...process.env, ...env, KILN_HOME: home, KILN_TEST_MARK: TEST_MARK.split("=")[1] },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
}

/** Collects what a started CLI prints until it ends. */
export async function finish(child: ChildProcess, input?: string): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.on("error", () => undefined); // The command may end before it has read its input.
  child.stdin?.end(input ?? "");
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { stdout, stderr, code, signal };
}

/** Runs the CLI to its end. */
export function kiln(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return finish(startKiln(args, options), options.input);
}
