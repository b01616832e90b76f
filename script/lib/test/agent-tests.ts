import type { RunOptions } from "./run-process.ts";
import { runProcess } from "./run-process.ts";
import { parseCargoTest, settle, type Tally } from "./tally.ts";

/** The guest agent's own tests: the stage `test` of its Containerfile, built by the host package as it builds the agent. */
export async function runAgentTests(options: RunOptions): Promise<Tally> {
  let output = "";
  const exitCode = await runProcess(
    process.execPath,
    [...process.execArgv, "packages/host/src/build/agent-test.ts"],
    {
      ...options,
      onOutput: (text) => {
        output += text;
      },
    },
  );
  return settle(parseCargoTest(output), exitCode);
}
