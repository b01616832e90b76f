import { join } from "node:path";
import { pythonEnvironment } from "./python-environment.ts";
import { type RunOptions, runProcess, say } from "./run-process.ts";
import { serve } from "./serve.ts";
import { add, NOTHING, parsePytest, settle, type Tally } from "./tally.ts";

/** Each counts as one test. */
const CHECKS: readonly string[][] = [
  ["ruff", "check", ".", "../examples/python"],
  ["ruff", "format", "--check", ".", "../examples/python"],
  ["mypy", "--strict"],
];

/** The Python client's checks and tests, those against a real daemon included. */
export async function runPythonTests(options: RunOptions): Promise<Tally> {
  const bin = await pythonEnvironment(options.cwd);
  const inPackage: RunOptions = {
    ...options,
    cwd: join(options.cwd, "python"),
    env: {
      ...options.env,
      KILN_TEST_LIVE: "1",
      KILN_BIN: join(options.cwd, "bin/kiln"),
      PYTHONDONTWRITEBYTECODE: "1",
    },
  };
  let tally = NOTHING;
  for (const words of CHECKS) {
    const exitCode = await runProcess(join(bin, "python"), ["-m", ...words], inPackage);
    say(options, `${exitCode === 0 ? "ok" : "FAILED"}: ${words.join(" ")}`);
    tally = add(tally, { ...NOTHING, [exitCode === 0 ? "passed" : "failed"]: 1 });
  }
  await using _daemon = await serve(options);
  let output = "";
  const exitCode = await runProcess(join(bin, "python"), ["-m", "pytest", "-p", "no:cacheprovider"], {
    ...inPackage,
    onOutput: (text) => {
      output += text;
    },
  });
  return add(tally, settle(parsePytest(output), exitCode));
}
