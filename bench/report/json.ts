import type { HostDescription } from "../host-description.ts";
import type { RowSkipped } from "./result.ts";
import type { RowSummary } from "./summary.ts";

/** What `--json` gives. `format` changes with its meaning. */
export interface Report {
  format: 1;
  started: string;
  /** The whole benchmark's duration, in seconds. */
  seconds: number;
  template: string;
  host: HostDescription;
  /** Load averages over 1, 5 and 15 minutes, before and after. */
  load: { before: string; after: string };
  rows: (RowSummary | RowSkipped)[];
}

export function encodeReport(report: Report): string {
  const rounded = (_: string, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toFixed(3)) : value;
  return `${JSON.stringify(report, rounded, 2)}\n`;
}
