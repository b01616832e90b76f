/** Measurements of one thing, in the order they were made. */
export interface Series {
  /** Who or what was measured: `kiln`, `floor`, … */
  label: string;
  values: number[];
}

/** What one row of the benchmark found. */
export interface RowResult {
  /** Name the row is selected by. */
  row: string;
  /** What was measured, one line. */
  title: string;
  /** `ms`, `s`, `MiB`, `IOPS` or `MiB/s`. */
  unit: string;
  series: Series[];
  /** Pairs of labels to divide: the first by the second. Series of equal length were measured in turn. */
  ratios?: readonly (readonly [string, string])[];
  /** Where the time of a series goes: consecutive parts, each a series in the same unit. */
  breakdown?: { of: string; parts: Series[] }[];
  /** What a reader has to know to judge the figures. */
  notes?: string[];
}

/** A row that could not be measured here, and why. */
export interface RowSkipped {
  row: string;
  skipped: string;
}
