/** How the tests of one suite ended. */
export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

export const NOTHING: Tally = { passed: 0, failed: 0, skipped: 0 };

export function add(a: Tally, b: Tally): Tally {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** `"3 passed, 0 failed"`, with `", 1 skipped"` where something was. */
export function format({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/**
 * Reads what count-reporter.ts wrote.
 *
 * @throws Error when it is anything else.
 */
export function parseTally(json: string): Tally {
  const { passed, failed, skipped } = JSON.parse(json) as Record<keyof Tally, unknown>;
  if (![passed, failed, skipped].every(Number.isSafeInteger)) throw new Error(`not a tally: ${json}`);
  return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) };
}

/**
 * The tally of a suite whose process has ended. One that died, or that failed without a test to show for it, counts
 * as a failed test: a crash must not look like fewer tests. So does one that ran nothing at all.
 *
 * @param reported what the runner reported; undefined when it did not get that far
 */
export function settle(reported: Tally | undefined, exitCode: number): Tally {
  const tally = reported ?? NOTHING;
  const ranNothing = tally.passed + tally.failed + tally.skipped === 0;
  const diedSilently = exitCode !== 0 && tally.failed === 0;
  return diedSilently || ranNothing || !reported ? add(tally, { ...NOTHING, failed: 1 }) : tally;
}

/** The closing line of pytest: `== 3 failed, 40 passed, 1 skipped in 2.31s ==`. Undefined without one. */
export function parsePytest(output: string): Tally | undefined {
  const last = output.split("\n").findLast((line) => /^=+ .* in [\d.]+s.* =+$/.test(line));
  if (last === undefined) return undefined;
  const count = (...words: string[]) =>
    words.reduce((sum, word) => sum + Number(new RegExp(`(\\d+) ${word}\\b`).exec(last)?.[1] ?? 0), 0);
  return {
    passed: count("passed", "xfailed"),
    failed: count("failed", "errors?", "xpassed"),
    skipped: count("skipped"),
  };
}

const CARGO_RESULT = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/;

/** Sums the `test result:` lines of cargo test, one for each of the crate's test programs. Undefined without any. */
export function parseCargoTest(output: string): Tally | undefined {
  let sum: Tally | undefined;
  for (const line of output.split("\n")) {
    // podman build may put the step before each line.
    const match = CARGO_RESULT.exec(line.slice(Math.max(0, line.indexOf("test result:"))));
    if (!match) continue;
    const [, passed, failed, skipped] = match.map(Number);
    sum = add(sum ?? NOTHING, { passed: passed ?? 0, failed: failed ?? 0, skipped: skipped ?? 0 });
  }
  return sum;
}
