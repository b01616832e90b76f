/**
 * Measures Kiln's block server beside its peers.
 *
 *     node bench/nbd/run.ts [--runs 5] [--seconds 2] [--json]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { summarizeRow } from "../report/summary.ts";
import { rowLines } from "../report/table.ts";
import { measureNbd } from "./measure.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const controller = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort());

const folder = await mkdtemp(join(tmpdir(), "kiln-bench-"));
try {
  const options = {
    folder,
    runs: Number(values.runs),
    seconds: Number(values.seconds),
    signal: controller.signal,
  };
  const rows = (await measureNbd(options)).map((row) => ("skipped" in row ? row : summarizeRow(row)));
  if (values.json) console.log(JSON.stringify({ rows }, undefined, 2));
  else for (const row of rows) console.log(`${rowLines(row).join("\n")}\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
