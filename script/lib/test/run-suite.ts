import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { runAgentTests } from "./agent-tests.ts";
import { type RunOptions, runProcess } from "./run-process.ts";
import type { Suite } from "./suites.ts";
import { add, NOTHING, parseTally, settle, type Tally } from "./tally.ts";

/** Runs one suite to its end, or until `signal` fires, and tells how its tests ended. Never throws for a test's sake. */
export async function runSuite(suite: Suite, options: RunOptions, scratch: string): Promise<Tally> {
  switch (suite.kind.type) {
    case "commands":
      return runCommands(suite.kind.commands, options);
    case "agent":
      return runAgentTests(options);
    case "node":
      return runNodeTests(suite.kind.files, join(scratch, `${suite.name}.json`), options);
  }
}

async function runCommands(commands: string[][], options: RunOptions): Promise<Tally> {
  let tally = NOTHING;
  for (const [command = "", ...args] of commands) {
    const exitCode = await runProcess(command, args, options);
    console.log(`${exitCode === 0 ? "ok" : "FAILED"}: ${command}`);
    tally = add(tally, { ...NOTHING, [exitCode === 0 ? "passed" : "failed"]: 1 });
  }
  return tally;
}

async function runNodeTests(files: string[], tallyFile: string, options: RunOptions): Promise<Tally> {
  const reporters = [
    ["spec", "stdout"],
    [new URL("count-reporter.ts", import.meta.url).pathname, tallyFile],
  ].flatMap(([reporter, destination]) => [
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${destination}`,
  ]);
  const exitCode = await runProcess(
    process.execPath,
    [...process.execArgv, "--test", ...reporters, ...files],
    options,
  );
  return settle(await readTally(tallyFile), exitCode);
}

async function readTally(file: string): Promise<Tally | undefined> {
  try {
    return parseTally(await readFile(file, "utf8"));
  } catch {
    return undefined; // A runner that crashed has written nothing, or a part.
  }
}
