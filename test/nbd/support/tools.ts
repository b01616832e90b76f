import { spawnSync } from "node:child_process";
import { type ExecaError, execa } from "execa";

const TOOL_TIMEOUT_MS = 120_000;

/** Reason to skip a test that needs `tools`, or false when all of them are installed. */
export function missing(...tools: string[]): string | false {
  const absent = tools.filter((tool) => spawnSync("which", [tool]).status !== 0);
  return absent.length === 0 ? false : `not installed: ${absent.join(", ")}`;
}

/** Output of a tool that succeeds. @throws with everything the tool has said. */
export async function tool(command: string, args: readonly string[], cwd?: string): Promise<string> {
  try {
    const { all } = await execa(command, args, {
      all: true,
      timeout: TOOL_TIMEOUT_MS,
      ...(cwd === undefined ? {} : { cwd }),
    });
    return all;
  } catch (error) {
    throw new Error((error as ExecaError).message, { cause: error });
  }
}
