import { writeFile } from "node:fs/promises";
import { KilnError } from "../packages/host/src/errors.ts";
import { runStage } from "../packages/host/src/progress.ts";
import { BenchContext } from "./context.ts";
import { describeHost, load } from "./host-description.ts";
import { type BenchOptions, helpText, parseOptions } from "./options.ts";
import { printProgress } from "./progress.ts";
import { PROJECT } from "./project.ts";
import { encodeReport } from "./report/json.ts";
import type { RowSkipped } from "./report/result.ts";
import { type RowSummary, summarizeRow } from "./report/summary.ts";
import { hostLines, rowLines } from "./report/table.ts";

/** Measures the rows one after the other; each is printed when it is there, so that Ctrl-C loses only what is under way. */
async function bench(options: BenchOptions, signal: AbortSignal): Promise<void> {
  const started = new Date();
  const before = load();
  const print = (lines: readonly string[]) => {
    if (!options.json) process.stdout.write(`${lines.join("\n")}\n\n`);
  };
  await using context = new BenchContext({ template: options.template, signal, onProgress: printProgress });
  const rows: (RowSummary | RowSkipped)[] = [];
  for (const row of options.rows) {
    const results = await runStage(printProgress, `row ${row.name}`, () =>
      row.measure(context, options.runs ?? row.defaultRuns),
    );
    for (const result of results) {
      const summary = "skipped" in result ? result : summarizeRow(result);
      rows.push(summary);
      print(rowLines(summary));
    }
  }
  const host = await describeHost(PROJECT, await context.probeIfKnown());
  const after = load();
  print([...hostLines(host), `load: ${before} before, ${after} after (1, 5, 15 minutes)`]);
  const seconds = (Date.now() - started.getTime()) / 1000;
  const report = encodeReport({
    format: 1,
    started: started.toISOString(),
    seconds,
    template: options.template,
    host,
    load: { before, after },
    rows,
  });
  if (options.json) process.stdout.write(report);
  if (options.jsonFile !== undefined) await writeFile(options.jsonFile, report);
}

/** The first Ctrl-C ends the benchmark in order, a second one at once. */
function cancelledBySignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () =>
      controller.abort(new KilnError("CANCELLED", `the benchmark was ended by ${name}`)),
    );
  }
  return controller.signal;
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) process.stdout.write(helpText());
  else await bench(options, cancelledBySignal());
} catch (error) {
  if (error instanceof KilnError) {
    process.stderr.write(
      `error: ${error.message}\n${error.hint === undefined ? "" : `hint: ${error.hint}\n`}`,
    );
    process.exitCode = error.exitCode;
  } else {
    process.stderr.write(`error: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = 70;
  }
}
