import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { testEnvironment } from "./environment.ts";
import { runSuite } from "./run-suite.ts";
import { findSuites, type Suite } from "./suites.ts";
import { add, format, NOTHING, type Tally } from "./tally.ts";

const root = resolve(import.meta.dirname, "../../..");
const wanted = process.argv.slice(2);
const all = await findSuites(root);

if (wanted.includes("--list")) {
  for (const { name } of all) console.log(name);
  process.exit(0);
}
const unknown = wanted.filter((name) => !all.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(
    `script/test: no suite named ${unknown.join(", ")}; there are: ${all.map(({ name }) => name).join(", ")}`,
  );
  process.exit(2);
}
const suites = wanted.length > 0 ? all.filter(({ name }) => wanted.includes(name)) : all;

// The whole run ends with the first of these; the suite under way is killed and the data removed.
const stop = new AbortController();
const TOTAL_MINUTES = 60;
setTimeout(() => stop.abort(`the limit of ${TOTAL_MINUTES} minutes`), TOTAL_MINUTES * 60_000).unref();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort(name));

const results: { suite: Suite; tally: Tally; seconds: number }[] = [];
{
  await using environment = await testEnvironment(root);
  await mkdir(environment.scratch, { recursive: true });
  for (const suite of suites) {
    if (stop.signal.aborted) break;
    results.push(await timeSuite(suite, environment));
  }
}

console.log("");
for (const { suite, tally, seconds } of results) {
  console.log(`${suite.name.padEnd(10)} ${seconds.toFixed(1).padStart(7)} s   ${format(tally)}`);
}
let total = results.map(({ tally }) => tally).reduce(add, NOTHING);
if (stop.signal.aborted) {
  console.log(`stopped by ${stop.signal.reason}: suites are missing`);
  total = add(total, { ...NOTHING, failed: 1 });
}
console.log(format(total));
process.exitCode = total.failed === 0 ? 0 : 1;

async function timeSuite(suite: Suite, environment: { env: NodeJS.ProcessEnv; scratch: string }) {
  console.log(`\n== ${suite.name}`);
  const started = performance.now();
  const limit = AbortSignal.timeout(suite.minutes * 60_000);
  const signal = AbortSignal.any([stop.signal, limit]);
  const tally = await runSuite(suite, { cwd: root, env: environment.env, signal }, environment.scratch);
  if (limit.aborted) console.log(`${suite.name}: killed after ${suite.minutes} minutes`);
  return { suite, tally, seconds: (performance.now() - started) / 1000 };
}
