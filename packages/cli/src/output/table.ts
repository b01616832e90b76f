/** Prints rows in columns as wide as their content, with a heading; nothing but the heading when there are no rows. */
export function printTable(headings: readonly string[], rows: readonly (readonly string[])[]): void {
  process.stdout.write(formatTable(headings, rows));
}

/** The same as text. What a guest named is shown without its control characters. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  return [headings.map((heading) => heading.toUpperCase()), ...rows]
    .map((row) => row.map((cell, column) => printable(cell).padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/** Text without what a terminal would obey. */
export const printable = (text: string): string => text.replace(CONTROL, "�");

/** Prints a value for programs. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Bytes as people read them. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

const SECOND_MS = 1_000;
const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
] as const;

/** A span of time as people read it: `45s`, `12m`, `3h`, `5d`. */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / SECOND_MS));
  for (const [unit, size] of UNITS) if (seconds >= 2 * size) return `${Math.floor(seconds / size)}${unit}`;
  return `${seconds}s`;
}
