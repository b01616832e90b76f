export type Measure = () => Promise<number>;

/**
 * Measures the contestants in turn, `runs` times each after one run that is not counted, so that whatever else the
 * machine does meets all of them alike. The order is turned round every time: none always follows the same one.
 */
export async function interleave<Name extends string>(
  contestants: Readonly<Record<Name, Measure>>,
  runs: number,
  signal: AbortSignal,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(contestants) as Name[];
  const values = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let run = -1; run < runs; run++) {
    for (const name of run % 2 === 0 ? names : names.toReversed()) {
      signal.throwIfAborted();
      const value = await contestants[name]();
      if (run >= 0) values[name].push(value);
    }
  }
  return values;
}
