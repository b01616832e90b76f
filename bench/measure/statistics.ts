/** What is said of a series of measurements; all in the series' own unit. */
export interface Summary {
  runs: number;
  min: number;
  median: number;
  /** The smallest value that at least 95 % of the runs do not exceed; with fewer than 20 runs that is the largest. */
  p95: number;
  max: number;
}

function sorted(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError("there is nothing to summarise");
  return values.toSorted((a, b) => a - b);
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const ascending = sorted(values);
  const middle = ascending.length >> 1;
  const upper = ascending[middle] ?? Number.NaN;
  const lower = ascending[middle - 1] ?? Number.NaN;
  return ascending.length % 2 === 1 ? upper : (lower + upper) / 2;
}

/** The `rank` quantile (0 to 1) by the nearest-rank method: always one of the values. */
export function quantile(values: readonly number[], rank: number): number {
  const ascending = sorted(values);
  const index = Math.max(0, Math.ceil(rank * ascending.length) - 1);
  return ascending[index] ?? Number.NaN;
}

export function summarize(values: readonly number[]): Summary {
  return {
    runs: values.length,
    min: Math.min(...values),
    median: median(values),
    p95: quantile(values, 0.95),
    max: Math.max(...values),
  };
}

/**
 * The median of `ours[i] / theirs[i]`: each pair was measured side by side, so a machine that grows slower in the
 * course of a run moves both.
 */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): number {
  if (ours.length !== theirs.length) throw new RangeError("paired series must have the same length");
  return median(ours.map((value, index) => value / (theirs[index] ?? Number.NaN)));
}
