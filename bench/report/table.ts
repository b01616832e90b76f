import type { HostDescription } from "../host-description.ts";
import type { RowSkipped } from "./result.ts";
import type { RowSummary, SummarizedSeries } from "./summary.ts";

const HEADINGS = ["", "runs", "min", "median", "p95", "max"];

/** Three significant digits are more than these measurements hold; none is hidden below a thousand. */
export function formatNumber(value: number): string {
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function seriesCells({ label, summary }: SummarizedSeries, indent: string): string[] {
  const { runs, min, median, p95, max } = summary;
  return [`${indent}${label}`, String(runs), ...[min, median, p95, max].map(formatNumber)];
}

function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width + 2);
      })
      .join(""),
  );
}

/** One row of the benchmark as lines of text. */
export function rowLines(row: RowSummary | RowSkipped): string[] {
  if ("skipped" in row) return [`${row.row}: not measured: ${row.skipped}`];
  const cells = [HEADINGS, ...row.series.map((series) => seriesCells(series, "  "))];
  for (const { of, parts } of row.breakdown) {
    cells.push([`  where ${of} spends it`], ...parts.map((part) => seriesCells(part, "    ")));
  }
  const ratios = row.ratios.map(({ ours, theirs, ofMedians, paired }) => {
    const side = paired === undefined ? "" : `, median of paired ratios ${paired.toFixed(2)}`;
    return `  ${ours} / ${theirs}: ratio of medians ${ofMedians.toFixed(2)}${side}`;
  });
  const notes = (row.notes ?? []).map((note) => `  note: ${note}`);
  return [`${row.row}: ${row.title} [${row.unit}]`, ...alignColumns(cells), ...ratios, ...notes];
}

/** The machine, the versions and the state of both. */
export function hostLines(host: HostDescription): string[] {
  const tools = Object.entries(host.versions).map(([name, version]) => `${name} ${version ?? "absent"}`);
  const { model, cores } = host.cpu;
  const memory = (host.memoryMib / 1024).toFixed(1);
  const accelerator = host.accelerator
    ? `${host.accelerator.name} (${host.accelerator.reason})`
    : "not probed";
  return [
    `host: ${model}, ${cores} cores, ${memory} GiB, Linux ${host.kernel}, ${host.distribution}`,
    `accelerator: ${accelerator}`,
    `versions: ${tools.join(", ")}`,
    `commit: ${host.commit ?? "unknown"}${host.uncommittedChanges ? " with uncommitted changes" : ""}`,
  ];
}
