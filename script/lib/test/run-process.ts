import { spawn } from "node:child_process";
import { once } from "node:events";

export interface RunOptions {
  cwd: string;
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  /** Shows what is said. @default on standard output and standard error, as they are */
  show?: (text: string) => void;
  /** Standard output, as it comes, besides being shown. */
  onOutput?: (text: string) => void;
}

/**
 * Runs a command in a process group of its own, with its output shown, until it ends or `signal` fires; then the whole
 * group is killed. Returns the exit code, 137 for a killed one.
 */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<number> {
  const { cwd, env, signal, show, onOutput } = options;
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", show || onOutput ? "pipe" : "inherit", show ? "pipe" : "inherit"],
  });
  const killGroup = () => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // The group is gone, which is what is wanted.
    }
  };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    if (show) show(text);
    else process.stdout.write(text);
    onOutput?.(text);
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => show?.(text));
  signal.addEventListener("abort", killGroup);
  if (signal.aborted) killGroup();
  try {
    const [code] = await once(child, "close");
    return typeof code === "number" ? code : 137;
  } finally {
    signal.removeEventListener("abort", killGroup);
    killGroup();
  }
}

/** Shows a line of the runner's own. */
export function say({ show }: Pick<RunOptions, "show">, line: string): void {
  if (show) show(`${line}\n`);
  else console.log(line);
}
