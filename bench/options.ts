import { parseArgs } from "node:util";
import { KilnError } from "../packages/host/src/errors.ts";
import { DEFAULT_ROWS, ROWS } from "./rows/index.ts";
import type { Row } from "./rows/row.ts";

const MAX_RUNS = 10_000;

export interface BenchOptions {
  help: boolean;
  rows: readonly Row[];
  /** Counted runs of each contestant, in place of each row's own number. */
  runs: number | undefined;
  template: string;
  /** Whether JSON takes the table's place on standard output. */
  json: boolean;
  /** File that gets the JSON, beside the table on standard output. */
  jsonFile: string | undefined;
}

/** @throws KilnError `USAGE` for anything that is not understood. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parse(joinJsonFile(args));
  const rows = positionals.map((name) => {
    const row = ROWS.find((candidate) => candidate.name === name);
    if (!row) throw usage(`there is no row "${name}"`, `rows: ${ROWS.map((known) => known.name).join(", ")}`);
    return row;
  });
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  if (runs !== undefined && !(Number.isInteger(runs) && runs >= 1 && runs <= MAX_RUNS)) {
    throw usage(`--runs must be a whole number from 1 to ${MAX_RUNS}: it is "${values.runs}"`);
  }
  return {
    help: values.help ?? false,
    rows: rows.length === 0 ? DEFAULT_ROWS : rows,
    runs,
    template: values.template ?? "python",
    json: values.json ?? false,
    jsonFile: values["json-file"],
  };
}

/** `--json FILE` and `--json=FILE` mean a file; `--json` before a row's name, an option or nothing means standard output. */
function joinJsonFile(args: readonly string[]): string[] {
  const names = new Set(ROWS.map(({ name }) => name));
  const joined: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const [word = "", next] = args.slice(index, index + 2);
    if (word.startsWith("--json=")) joined.push(`--json-file=${word.slice("--json=".length)}`);
    else if (word === "--json" && next !== undefined && !next.startsWith("-") && !names.has(next)) {
      joined.push(`--json-file=${next}`);
      index++;
    } else joined.push(word);
  }
  return joined;
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        help: { type: "boolean", short: "h" },
        runs: { type: "string", short: "n" },
        template: { type: "string", short: "t" },
        json: { type: "boolean" },
        "json-file": { type: "string" },
      },
    });
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
}

const usage = (message: string, hint = "npm run bench -- --help"): KilnError =>
  new KilnError("USAGE", message, { hint });

export function helpText(): string {
  const rows = ROWS.map(
    ({ name, summary, defaultRuns }) => `  ${name.padEnd(8)} ${summary} [${defaultRuns} runs]`,
  );
  return `usage: npm run bench -- [ROW…] [--runs N] [--template NAME] [--json [FILE]]

Measures Kiln on this machine, side by side with what it is compared with. Without a ROW: all but floor and cold-build.

${rows.join("\n")}

  --runs N         counted runs of each contestant, for every row
  --template NAME  the template that is measured [python]
  --json           print JSON in place of the table
  --json FILE      print the table, and write JSON to FILE

Examples:
  npm run bench -- tti warm
  npm run bench -- --runs 50 --json figures.json

KILN_HOME is the product's own: what is built already is not built again.
`;
}
