import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { runAgentTests } from "./agent-tests.ts";
import { runPythonTests } from "./python-tests.ts";
import { type RunOptions, runProcess, say } from "./run-process.ts";
import type { Suite } from "./suites.ts";
import { add, format, NOTHING, parseTally, settle, type Tally } from "./tally.ts";

/** Runs one suite to its end, or until `signal` fires, and tells how its tests ended. Never throws for a test's sake. */
export async function runSuite(suite: Suite, options: RunOptions, scratch: string): Promise<Tally> {
  switch (suite.kind.type) {
    case "commands":
      return runCommands(suite.kind.commands, options);
    case "agent":
      return runAgentTests(options);
    case "python":
      return runPythonTests(options);
    case "node":
      return runNodeTests(suite, suite.kind.files, scratch, options);
  }
}

async function runCommands(commands: string[][], options: RunOptions): Promise<Tally> {
  let tally = NOTHING;
  for (const [command = "", ...args] of commands) {
    const exitCode = await runProcess(command, args, options);
    say(options, `${exitCode === 0 ? "ok" : "FAILED"}: ${command}`);
    tally = add(tally, { ...NOTHING, [exitCode === 0 ? "passed" : "failed"]: 1 });
  }
  return tally;
}

/**
 * Each file has a runner, and so a process group, of its own: the one way to end a test that spins, for node's own
 * time limit asks the test's process to end itself.
 */
async function runNodeTests(
  suite: Suite,
  files: string[],
  scratch: string,
  options: RunOptions,
): Promise<Tally> {
  let tally = NOTHING;
  for (const [index, file] of files.entries()) {
    if (options.signal.aborted) break;
    const tallyFile = join(scratch, `${suite.name}-${index}.json`);
    const limit = AbortSignal.timeout(suite.fileMinutes * 60_000);
    const signal = AbortSignal.any([options.signal, limit]);
    say(options, relative(options.cwd, file));
    const exitCode = await runProcess(process.execPath, nodeTestArguments(file, tallyFile), {
      ...options,
      signal,
    });
    if (limit.aborted) say(options, `killed after ${suite.fileMinutes} minutes`);
    const ended = settle(await readTally(tallyFile), exitCode);
    if (exitCode !== 0) say(options, `FAILED: ${relative(options.cwd, file)}: ${format(ended)}`);
    tally = add(tally, ended);
  }
  return options.signal.aborted ? add(tally, { ...NOTHING, failed: 1 }) : tally;
}

function nodeTestArguments(file: string, tallyFile: string): string[] {
  const reporters = [
    ["spec", "stdout"],
    [new URL("count-reporter.ts", import.meta.url).pathname, tallyFile],
  ].flatMap(([reporter, destination]) => [
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${destination}`,
  ]);
  return [...process.execArgv, "--test", ...reporters, file];
}

async function readTally(file: string): Promise<Tally | undefined> {
  try {
    return parseTally(await readFile(file, "utf8"));
  } catch {
    return undefined; // A runner that crashed has written nothing, or a part.
  }
}
