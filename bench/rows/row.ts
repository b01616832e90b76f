import type { BenchContext } from "../context.ts";
import type { RowResult, RowSkipped } from "../report/result.ts";

/** One thing the benchmark measures. */
export interface Row {
  /** What it is selected by on the command line. */
  name: string;
  /** One line for `--help`. */
  summary: string;
  /** Counted runs of each contestant without `--runs`. */
  defaultRuns: number;
  measure(context: BenchContext, runs: number): Promise<(RowResult | RowSkipped)[]>;
}
