import { median, pairedRatio, type Summary, summarize } from "../measure/statistics.ts";
import type { RowResult, Series } from "./result.ts";

export interface Ratio {
  ours: string;
  theirs: string;
  /** Median of ours by median of theirs. */
  ofMedians: number;
  /** Median of the ratios of runs made side by side; absent when the series were not measured in turn. */
  paired: number | undefined;
}

export interface SummarizedSeries extends Series {
  summary: Summary;
}

/** A row with everything that is computed from its measurements. */
export interface RowSummary extends Omit<RowResult, "series" | "ratios" | "breakdown"> {
  series: SummarizedSeries[];
  ratios: Ratio[];
  breakdown: { of: string; parts: SummarizedSeries[] }[];
}

const withSummary = (series: Series): SummarizedSeries => ({ ...series, summary: summarize(series.values) });

export function summarizeRow(result: RowResult): RowSummary {
  const valuesOf = (label: string): number[] => {
    const series = result.series.find((candidate) => candidate.label === label);
    if (!series) throw new RangeError(`row ${result.row} has no series "${label}"`);
    return series.values;
  };
  return {
    ...result,
    series: result.series.map(withSummary),
    ratios: (result.ratios ?? []).map(([ours, theirs]) => {
      const [a, b] = [valuesOf(ours), valuesOf(theirs)];
      const paired = a.length === b.length ? pairedRatio(a, b) : undefined;
      return { ours, theirs, ofMedians: median(a) / median(b), paired };
    }),
    breakdown: (result.breakdown ?? []).map(({ of, parts }) => ({ of, parts: parts.map(withSummary) })),
  };
}
