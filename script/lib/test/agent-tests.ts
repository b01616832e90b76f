import { type RunOptions, runProcess } from "./run-process.ts";
import { parseCargoTest, settle, type Tally } from "./tally.ts";

/** The guest agent's own tests, which run where the agent is built: in a container, by the host package's code. */
export async function runAgentTests(options: RunOptions): Promise<Tally> {
  let output = "";
  const exitCode = await runProcess(
    process.execPath,
    [...process.execArgv, "script/lib/test/build-agent-tests.ts"],
    {
      ...options,
      onOutput: (text) => {
        output += text;
      },
    },
  );
  return settle(parseCargoTest(output), exitCode);
}
