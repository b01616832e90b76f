import { KilnError } from "../errors.ts";
import type { GuestAgent } from "../guest/agent.ts";
import { shellExitCode } from "../guest/exec.ts";

/** How long one check may take, in milliseconds. */
const CHECK_TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 65_536;
const LAST_LINES = 20;

/** What every sandbox runs first: a program with and without a shell. */
const ALWAYS: readonly (readonly string[])[] = [["/bin/true"], ["echo", "kiln"], ["/bin/sh", "-c", "true"]];

/**
 * Starts a few small programs in a guest that runs, both as ones that end with their connection and as ones that are kept, so that the next
 * one finds its code in memory, and under emulation translated.
 */
export async function exercise(agent: GuestAgent): Promise<void> {
  for (const [index, argv] of ALWAYS.entries()) {
    const program = { argv, timeoutMs: CHECK_TIMEOUT_MS };
    await agent.run(program, { maxOutputBytes: MAX_OUTPUT_BYTES });
    const id = `exercise-${index}`;
    await using kept = agent.start({ ...program, id });
    for await (const _ of kept.output);
    await kept.exited();
    await agent.forget(id);
  }
}

/**
 * Runs `commands` in a guest that is about to be frozen, each with `/bin/sh -c` in the image's environment. What they
 * read stays in the guest's page cache.
 * @throws KilnError `BUILD_FAILED` when one of them does not end with 0.
 */
export async function warmUp(
  agent: GuestAgent,
  commands: readonly string[],
  update: (message: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  await exercise(agent);
  for (const [index, command] of commands.entries()) {
    signal?.throwIfAborted();
    update(`check ${index + 1}/${commands.length}: ${command}`);
    const result = await agent.run(
      { argv: ["/bin/sh", "-c", command], timeoutMs: CHECK_TIMEOUT_MS },
      { maxOutputBytes: MAX_OUTPUT_BYTES, ...(signal ? { signal } : {}) },
    );
    if (result.exitCode !== 0) {
      const output = `${result.stdout}${result.stderr}`.trim().split("\n").slice(-LAST_LINES).join("\n");
      const how = result.timedOut
        ? `took longer than ${CHECK_TIMEOUT_MS / 1000} s`
        : `ended with ${shellExitCode(result)}`;
      throw new KilnError("BUILD_FAILED", `the template's check failed: "${command}" ${how}`, {
        hint: output === "" ? "it printed nothing" : `it printed:\n${output}`,
        details: { command, output },
      });
    }
  }
}
